// Attempts that saved nothing: a job that dies again and again between two checkpoints must not be started for ever
// (run.attempts).  Told from attempts.jsonl, and from causes/ only when that looks bad.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "src/job/setup.hpp"

namespace banyan::job {

struct Fruitless {
  std::vector<std::int64_t> attempts;  ///< ascending
  std::string last_words;              ///< of the newest of them: why it ended, one clause
};

/// The attempts right before `attempt` that began at `from_step`, so that no later one found a newer checkpoint, and
/// that failed; at most `limit` of them.  Left out are attempts that ended as somebody wanted (finished, stopped, a
/// configuration or command line refused, another job in the run directory) and what a job does after rolling back,
/// which is the same start.  Lines and records that say nothing of use are passed over.
Fruitless fruitless_attempts(const std::filesystem::path& run_dir, std::int64_t attempt, std::int64_t from_step,
                             std::int64_t limit);

/// Collective over all ranks.  An Error of kNoProgress (93) when the last run.attempts attempts were fruitless.
void require_progress(const Job& job, std::int64_t from_step);

}  // namespace banyan::job
