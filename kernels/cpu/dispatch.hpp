// Chooses, when the program runs, among the kernels it holds: all files of this folder but isa and this one are
// compiled once for every instruction set worth a version of its own.
#pragma once

#include <memory>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/cpu/isa.hpp"

namespace banyan::kernels::cpu {

/// What the kernels of this program are compiled for, from the poorest to the richest set.
std::vector<Isa> compiled_isas();
/// A backend with the kernels compiled for `kernels`, one of compiled_isas(), which the processor must have.  `gemm` is
/// what oneDNN has been limited to, for its description.
std::unique_ptr<Backend> make_backend(Isa kernels, Isa gemm, int threads);

}  // namespace banyan::kernels::cpu
