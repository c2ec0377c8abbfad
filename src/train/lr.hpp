// The learning rate as a pure function of the step.
#pragma once

#include <cstdint>

#include "src/config/config.hpp"

namespace banyan::train {

/// Learning rate of update number `step` (0-based) of `steps`.  Warm-up rises linearly, reaching optimizer.lr with
/// update number warmup - 1.  After it:
///   constant   lr
///   linear     straight from lr to min_lr at the last update
///   cosine     half a cosine from lr to min_lr at the last update
///   wsd        lr, then straight to min_lr over the last `decay` updates
double learning_rate(const config::optimizer_section& optimizer, std::int64_t step, std::int64_t steps);

}  // namespace banyan::train
