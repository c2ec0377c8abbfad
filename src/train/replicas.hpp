// Copies that must be equal are compared by checksum at every save and in every audit: parameters of data replicas,
// parameters every tensor rank holds whole, the two copies of a tied embedding, and moments without ZeRO-1.  A
// difference means that memory, a message or the program went wrong; it is noticed before it is saved.
#pragma once

#include <cstdint>
#include <span>

#include "src/train/step.hpp"
#include "src/train/verdict.hpp"

namespace banyan::train {

/// CommError naming the tensor, the ranks and their hosts, the same on all working ranks, which all call it.
void compare_replicas(Trainer& trainer, std::int64_t step);

/// Ends the job if any working rank has found something; returns otherwise.  CommError as above; the cause records name
/// the suspect unless ranks of several hosts come into question.  Called by all working ranks.
void settle(Trainer& trainer, std::span<const Finding> findings);

}  // namespace banyan::train
