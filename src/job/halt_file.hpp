// The file `stop` in a run directory: what `banyan stop` wants of the job that runs there.
//
//   at-step 1200     stop once 1200 steps are done
//   now              stop at the next step boundary; so does a file with anything else in it, `touch RUN/stop` for one,
//                    because a stop loses nothing
//
// It may be replaced or taken away at any time.  A job that leaves in order takes it away if it has obeyed it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace banyan::job {

struct Halt {
  std::int64_t at_step = 0;  ///< steps of the whole run; 0: now

  /// True when a job that has done `step` steps should have stopped.
  bool due(std::int64_t step) const { return step >= at_step; }
};

/// The text of the file, with its line break.
std::string halt_text(const Halt& halt);
Halt parse_halt(std::string_view text);

/// Replaces the file in one step.
void write_halt(const std::filesystem::path& run_dir, const Halt& halt);
/// nullopt when there is none; IoError when that cannot be told.
std::optional<Halt> read_halt(const std::filesystem::path& run_dir);
/// False when there was none.
bool remove_halt(const std::filesystem::path& run_dir);

}  // namespace banyan::job
