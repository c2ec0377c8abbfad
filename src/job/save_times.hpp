// How long saves take: RUN/saves.jsonl, one line per commit, kept over all attempts, so that an attempt knows it before
// its own first save, and so does a script that asks the batch system for time to leave (scripts/slurm/lib.sh).
//
//   {"attempt": 3, "step": 1200, "bytes": 1492992000, "seconds": 3.21, "waited": 0.32}
//
// waited: of it, by a training that went on; not there where it did not.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <string_view>

#include "src/base/section.hpp"
#include "src/job/metrics.hpp"

namespace banyan::job {

/// Of rank 0.
class SaveTimes {
 public:
  /// Reads what earlier attempts left.  Lines that say nothing of use are passed over.
  explicit SaveTimes(const std::filesystem::path& run_dir);

  /// Writes the line of a commit.  A full disk costs the line, not the job.
  void add(std::int64_t attempt, std::int64_t step, std::int64_t bytes, Seconds seconds,
           std::optional<Seconds> waited = std::nullopt);
  /// The 99th percentile of the newest hundred; `otherwise` when there are none.
  Seconds p99(Seconds otherwise) const;
  /// The same of what training waited.
  Seconds waited_p99(Seconds otherwise) const;

 private:
  LineFile file_;
  std::deque<double> seconds_, waited_;  ///< newest last
};

/// SaveTimes::p99 for those who may not write into the run directory, because they do not hold its lease yet; 0 when
/// there are none.
Seconds save_time_so_far(const std::filesystem::path& run_dir);

/// How long the disk work of one part of a save or load may take on any rank before it is given up: half an hour, or
/// ten times what saves of the run took.  Storage that stands still for ten minutes and comes back costs these, not the
/// job.
Seconds storage_limit(Seconds save);
/// Silence of a rank that saves or loads by which it is lost, whatever its disk does: the thread that speaks with the
/// others does no I/O (together.hpp).  It has `least`, and copies and sums its `bytes` at 100 MB/s or faster.
Seconds silence_limit(Seconds least, std::int64_t bytes);

/// Duration of a save nobody has measured: this many bytes of each rank at 50 MB/s, which shared disks give, and a few
/// seconds for syncing and voting.
Seconds assumed_save_time(std::int64_t bytes_per_rank);
/// Of what training waits for one that is written in the background: a copy at 1 GB/s, and the votes.
Seconds assumed_copy_time(std::int64_t bytes_per_rank);

}  // namespace banyan::job
