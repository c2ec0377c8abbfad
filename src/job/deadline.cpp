#include "src/job/deadline.hpp"

#include <algorithm>

#include "src/base/error.hpp"
#include "src/base/units.hpp"

namespace banyan::job {
namespace {

/// Limits further away are none, and would not fit the clock.
constexpr double kFarAway = 1e9;

}  // namespace

std::optional<Clock::time_point> TimeLimit::end(Clock::time_point started, Clock::time_point now,
                                                double unix_now) const {
  std::optional<Clock::time_point> earliest;
  const auto ends = [&](Clock::time_point from, double seconds) {
    if (seconds > kFarAway) return;
    const auto at = from + std::chrono::duration_cast<Clock::duration>(Seconds(std::max(seconds, -kFarAway)));
    earliest = earliest ? std::min(*earliest, at) : at;
  };
  if (left > Seconds::zero()) ends(started, left.count());
  if (slurm_end) {
    const std::optional<double> at = parse_real(*slurm_end);
    if (!at) throw ConfigError("SLURM_JOB_END_TIME is '{}', no number of seconds since 1970; unset it", *slurm_end);
    ends(now, *at - unix_now);
  }
  return earliest;
}

Seconds Pace::until_gone(bool evaluates, bool saves) const {
  return 2 * step + (evaluates ? 1 : 0) * evaluation + (saves ? 2 : 1) * save + kLeaving;
}

}  // namespace banyan::job
