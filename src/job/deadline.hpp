// When the batch system ends the job, and how long before that the job must begin to leave: it stops by itself, after a
// last commit, even if no signal comes.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string>

#include "src/base/section.hpp"

namespace banyan::job {

/// What the batch system says about the end of a job.
struct TimeLimit {
  Seconds left{0};                         ///< run.time_left: from the start of the process; 0: nothing said
  std::optional<std::string> slurm_end{};  ///< SLURM_JOB_END_TIME: seconds since 1970

  /// The earlier of both as a time of the monotonic clock; nullopt when nothing is said.  `now` and `unix_now` (seconds
  /// since 1970) are the same moment.  ConfigError when slurm_end is no number.
  std::optional<Clock::time_point> end(Clock::time_point started, Clock::time_point now, double unix_now) const;
};

/// How long what lies ahead takes, from the steps and saves so far.
struct Pace {
  Seconds step{0}, evaluation{0}, save{0};

  /// Time until the job is gone if it goes on past the next step boundary and stops at the one after; `evaluates` and
  /// `saves`: that is due at the next boundary.
  Seconds until_gone(bool evaluates, bool saves) const;
};

/// The longest of the last few, so that one hiccup long ago does not count for ever.
class LongestOfLate {
 public:
  void add(Seconds seconds) { late_[next_++ % late_.size()] = seconds; }
  /// 0 before the first.
  Seconds get() const { return *std::max_element(late_.begin(), late_.end()); }

 private:
  std::array<Seconds, 32> late_{};
  std::size_t next_ = 0;
};

/// For leaving once the last save is committed: the last barrier, the launcher, the batch script.
inline constexpr Seconds kLeaving{15};

}  // namespace banyan::job
