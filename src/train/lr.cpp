#include "src/train/lr.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "src/base/error.hpp"

namespace banyan::train {

double learning_rate(const config::optimizer_section& o, std::int64_t step, std::int64_t steps) {
  if (step < o.warmup) return o.lr * static_cast<double>(step + 1) / static_cast<double>(o.warmup);
  // Share of the way from the end of the warm-up (0) to the last update (1).
  const auto share = [&](std::int64_t begin) {
    const std::int64_t length = steps - 1 - begin;
    if (length <= 0) return step < begin ? 0.0 : 1.0;
    return std::clamp(static_cast<double>(step - begin) / static_cast<double>(length), 0.0, 1.0);
  };
  const auto between = [&](double weight) { return o.min_lr + (o.lr - o.min_lr) * weight; };
  if (o.schedule == "constant") return o.lr;
  if (o.schedule == "linear") return between(1 - share(o.warmup));
  if (o.schedule == "cosine") return between(0.5 * (1 + std::cos(std::numbers::pi * share(o.warmup))));
  if (o.schedule == "wsd") {
    const std::int64_t decay = o.decay > 0 ? o.decay : std::max<std::int64_t>(1, steps / 10);
    // Update number steps - 1 - decay still has the full rate; the last one has min_lr.
    return between(1 - share(std::max(o.warmup, steps - 1 - decay)));
  }
  throw BugError("optimizer.schedule = {} has no formula", o.schedule);
}

}  // namespace banyan::train
