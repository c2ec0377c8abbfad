// Stopping in order: a signal on any rank, the halt file or the time limit become a vote in the step's own all-reduce,
// so that all ranks leave at one agreed step boundary.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "src/base/section.hpp"

namespace banyan::job {

/// In order of precedence when ranks have different reasons.
enum class StopReason : std::uint8_t { kNone, kSignal, kHaltFile, kMaxTime };
inline constexpr int kStopReasons = 4;

/// Takes the halt file away once it has been obeyed.
void remove_halt_file(const std::filesystem::path& run_dir);

/// "a signal asked for it"
std::string_view name_of(StopReason reason);

class StopWatch {
 public:
  /// Rank 0 (`root`) alone looks for RUN/stop and at the clock.  max_time in seconds, 0: no limit.
  StopWatch(std::filesystem::path run_dir, double max_time, bool root);
  /// What this rank wants now.
  StopReason vote();

 private:
  std::filesystem::path halt_file_;
  double max_time_;
  bool root_;
  Clock::time_point start_, next_look_;
};

}  // namespace banyan::job
