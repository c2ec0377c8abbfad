// How long to train between two checkpoints (checkpoint.interval = auto): as long as a save costs about as much as the
// work that a failure is expected to cost.  J. T. Daly, "A higher order estimate of the optimum checkpoint interval for
// restart dumps", Future Generation Computer Systems 22 (2006), equation 37, after J. W. Young (1974).
#pragma once

#include <cstdint>
#include <filesystem>

#include "src/base/section.hpp"

namespace banyan::job {

/// What a run has gone through.
struct FailureHistory {
  std::int64_t failures = 0;  ///< attempts that ended neither finished nor stopped as asked
  Seconds time{0};            ///< since the first attempt began, waits in queues included
};

/// Node hours between failures before a run has had any: 466 interruptions in 54 days on 2,048 nodes (A. Dubey et al.,
/// "The Llama 3 Herd of Models", 2024, section 3.3.4).
inline constexpr double kNodeHoursBetweenFailures = 54.0 * 24 * 2048 / 466;

/// Expected time between failures of a job on so many nodes: the above counts as one failure that was seen, so that a
/// run's own history soon outweighs it.
Seconds time_between_failures(const FailureHistory& history, int nodes);

/// From the end of a save to the beginning of the next one.  `save`: how long one takes.  `overhead`: the largest share
/// of the time that saves may take, 0: any.  At least a second.
Seconds save_interval(Seconds save, Seconds between_failures, double overhead = 0);

/// From attempts.jsonl and causes/ of a run directory, of attempts before `attempt`.  `unix_now`: seconds since 1970.
/// Lines and records that say nothing of use are passed over.  Rank 0.
FailureHistory read_history(const std::filesystem::path& run_dir, std::int64_t attempt, double unix_now);

}  // namespace banyan::job
