#include "src/job/stop.hpp"

#include <system_error>

#include "io/atomic_file.hpp"
#include "src/base/signals.hpp"

namespace banyan::job {

std::string_view name_of(StopReason reason) {
  switch (reason) {
    case StopReason::kNone:
      return "nothing asked for it";
    case StopReason::kSignal:
      return "a signal asked for it";
    case StopReason::kHaltFile:
      return "the file `stop` in the run directory asked for it";
    case StopReason::kMaxTime:
      return "train.max_time is over";
  }
  return "?";
}

StopWatch::StopWatch(std::filesystem::path run_dir, double max_time, bool root)
    : halt_file_(run_dir / "stop"), max_time_(max_time), root_(root), start_(Clock::now()), next_look_(start_) {}

void remove_halt_file(const std::filesystem::path& run_dir) { io::remove_tree(run_dir / "stop"); }

StopReason StopWatch::vote() {
  if (signals::stop_requests() > 0) return StopReason::kSignal;
  if (!root_) return StopReason::kNone;
  const Clock::time_point now = Clock::now();
  // One look a second is enough for people and spares a parallel file system.
  if (now >= next_look_) {
    next_look_ = now + std::chrono::seconds(1);
    std::error_code error;
    if (std::filesystem::exists(halt_file_, error)) return StopReason::kHaltFile;
  }
  if (max_time_ > 0 && Seconds(now - start_).count() > max_time_) return StopReason::kMaxTime;
  return StopReason::kNone;
}

}  // namespace banyan::job
