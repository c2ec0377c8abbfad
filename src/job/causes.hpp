// Cause records: why each rank left, one small file per rank and attempt, causes/ATTEMPT.RANK.json.  The launcher makes
// the final exit code of the job from them, because mpirun's own cannot be trusted.
//
//   {"attempt": 3, "rank": 5, "host": "n1", "code": 69, "name": "peer-lost", "message": "...", "step": 1200,
//    "waiting_for": "the activation of the previous stage", "peer": 4, "peer_host": "n0"}
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "src/base/exit_code.hpp"

namespace banyan::job {

/// Cause::reason of ranks that end because one of them computes wrongly; Cause::peer is that one, if it is known.
inline constexpr const char* kWrong = "wrong";

struct Cause {
  std::int64_t attempt = 0;
  int rank = 0;
  std::string host;
  ExitCode code = ExitCode::kFinished;
  std::string message;      ///< "" when finished
  std::string reason;       ///< code 75: what asked for the stop (stop.hpp), so that scripts know whether to go on; or
                            ///< kWrong
  std::string waiting_for;  ///< the innermost section when the error was noticed
  int peer = -1;            ///< the rank whose failure ended this one, -1: this rank's own
  std::string peer_host;    ///< where that one is
  std::int64_t step = -1;   ///< last step begun, -1: none
};

/// "finished", "stopped", ...
std::string_view name_of(ExitCode code);

std::string cause_json(const Cause& cause);
/// Writes RUN/causes/ATTEMPT.RANK.json.  Never throws: leaving goes on when the disk is full.  False when it failed.
bool write_cause(const std::filesystem::path& run_dir, const Cause& cause) noexcept;

}  // namespace banyan::job
