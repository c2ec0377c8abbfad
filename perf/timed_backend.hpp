// A backend that passes every operation on to another one and adds up what it takes: where the time of a step goes.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "kernels/backend.hpp"

namespace banyan::perf {

/// Calls of one kind; matrix products of different shapes are different kinds.
struct OpTime {
  long calls = 0;
  double seconds = 0, flops = 0;  ///< flops only of matrix products
};
using OpTimes = std::map<std::string, OpTime>;

/// `times` belongs to the caller, who may clear it between calls, and outlives the backend.
std::unique_ptr<kernels::Backend> make_timed_backend(std::unique_ptr<kernels::Backend> device, OpTimes& times);

}  // namespace banyan::perf
