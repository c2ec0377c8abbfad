// Stopping in order: a signal on any rank, the halt file, the time limit of the batch system or train.max_time become a
// vote in the step's own all-reduce, so that all ranks leave at one agreed step boundary.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

#include "src/base/section.hpp"
#include "src/job/halt_file.hpp"

namespace banyan::job {

/// In order of precedence when ranks have different reasons.  The halt file comes first: whoever wrote it does not want
/// the job to be started again, which the others do.
enum class StopReason : std::uint8_t { kNone, kHaltFile, kSignal, kTimeLimit, kMaxTime };
inline constexpr int kStopReasons = 5;

/// "a signal asked for it"
std::string_view sentence_of(StopReason reason);
/// "signal": for cause records, on which scripts act; empty for kNone.
std::string_view name_of(StopReason reason);

struct StopOptions {
  std::filesystem::path run_dir{};
  bool root = false;                             ///< rank 0, which alone looks at the halt file and the clock
  Clock::time_point started{};                   ///< of the process
  Seconds max_time{0};                           ///< train.max_time; 0: no limit
  std::optional<Clock::time_point> batch_end{};  ///< when the batch system ends the job (deadline.hpp)
  Seconds look_every{1};                         ///< at the halt file: enough for people, spares parallel storage
};

class Job;
/// What stops a job that trains, by its configuration and its environment; the time limit is read on rank 0.
StopOptions stop_options(const Job& job);

class StopWatch {
 public:
  explicit StopWatch(StopOptions options) : options_(std::move(options)), next_look_(Clock::now()) {}

  /// Tells the log when the batch system ends the job, if anybody knows.
  void announce() const;
  /// What this rank wants, asked before a step: to stop at its end, when `step` steps will be done?  `until_gone`: time
  /// until the job is gone if it stops one step later only.
  StopReason vote(std::int64_t step, Seconds until_gone);
  /// The job has done `step` steps and leaves: takes the halt file away if it has been obeyed.  Rank 0.
  void leave(std::int64_t step) const;

 private:
  bool halted(std::int64_t step);
  void look();

  StopOptions options_;
  Clock::time_point next_look_;
  std::optional<Halt> halt_;  ///< as last seen
  bool blind_ = false;        ///< the last look failed
};

}  // namespace banyan::job
