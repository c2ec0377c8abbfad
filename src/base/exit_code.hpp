// Exit codes of the program, once.  `banyan --print-exit-codes` prints this table; scripts/launch.sh and batch
// scripts act on it.  Only 69, 74 and 75 mean "start me again".
#pragma once

#include <array>
#include <string_view>

namespace banyan {

enum class ExitCode : int {
  kFinished = 0,
  kUsage = 64,
  kBadData = 65,
  kPeerLost = 69,
  kBug = 70,
  kRunHeld = 73,
  kIoFailed = 74,
  kStopped = 75,
  kNumbersWrong = 76,
  kConfig = 78,
  kNoProgress = 93,
};

struct ExitCodeRow {
  ExitCode code;
  bool requeue;                ///< starting the same job again is the right answer
  std::string_view name;       ///< one word for scripts
  std::string_view sentence;   ///< what happened and who can act
};

inline constexpr std::array<ExitCodeRow, 11> kExitCodes{{
    {ExitCode::kFinished, false, "finished", "The job did what it was asked to do."},
    {ExitCode::kUsage, false, "usage", "The command line was wrong; nothing was started."},
    {ExitCode::kBadData, false, "bad-data", "Input data is damaged or a check did not hold."},
    {ExitCode::kPeerLost, true, "peer-lost", "A peer, node or service was lost; start the job again."},
    {ExitCode::kBug, false, "bug", "The program contradicted itself; report it with the log."},
    {ExitCode::kRunHeld, false, "run-held", "Another live job holds the run directory."},
    {ExitCode::kIoFailed, true, "io-failed", "Reading or writing failed; start the job again when storage is back."},
    {ExitCode::kStopped, true, "stopped", "Stopped on request or time limit after a commit; start again to continue."},
    {ExitCode::kNumbersWrong, false, "numbers-wrong", "Loss or gradient became NaN, infinite or inconsistent."},
    {ExitCode::kConfig, false, "config", "Configuration is wrong, no checkpoint is usable, or the run directory is not shared."},
    {ExitCode::kNoProgress, false, "no-progress", "Several attempts in a row made no progress; look before you start again."},
}};

}  // namespace banyan
