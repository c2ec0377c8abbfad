#include "src/parallel/fill.hpp"

#include <algorithm>

#include "src/parallel/v_order.hpp"

namespace banyan::parallel {
namespace {

/// Microbatches for each stage after which the next one of a V takes no longer than its passes, or hardly so.
constexpr int kSteady = 4;

}  // namespace

double fill_share(ScheduleKind kind, int stages, int chunks, int microbatches, const PassTicks& ticks) {
  if (stages == 1) return 1;
  const double all = ticks.forward + ticks.input + ticks.weights;
  switch (kind) {
    case ScheduleKind::kGpipe:
    case ScheduleKind::k1F1B:
      return 1;
    case ScheduleKind::kInterleaved:
      return 1.0 / chunks;
    case ScheduleKind::kZbH1: {
      const double filled = ticks.weights * (std::min(microbatches, stages) - 1.0) / (stages - 1.0);
      return (ticks.forward + ticks.input - filled) / all;
    }
    case ScheduleKind::kZbV: {
      const int played = std::min(microbatches, kSteady * stages);
      const double idle = static_cast<double>(v_ticks(stages, played, ticks)) - 2 * played * all;
      return idle / (2 * all * (stages - 1.0));
    }
  }
  return 1;
}

}  // namespace banyan::parallel
