// The dry backend, for those who play jobs: computes nothing, and tells what every operation would take.
#pragma once

#include <functional>
#include <memory>

#include "kernels/backend.hpp"

namespace banyan::kernels {

/// The device that is played.
struct DryOptions {
  double flops = 0;                                ///< FLOP/s of matrix products
  double attention_flops = 0;                      ///< FLOP/s of attention
  double memory_rate = 0;                          ///< bytes/s of everything else, and at the least of products
  double start = 0;                                ///< seconds of every operation in which nothing is done
  std::function<void(double seconds)> spend = {};  ///< told what each operation takes; time is the caller's to pass
};
/// Sums are 0, and what the caller allocates here is neither read nor written.  ConfigError when a rate is not
/// positive.
std::unique_ptr<Backend> make_dry_backend(DryOptions options);

}  // namespace banyan::kernels
