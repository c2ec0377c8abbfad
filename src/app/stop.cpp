// banyan stop RUN: asks the job that runs there to save and stop, by a file in its run directory.
#include <fmt/core.h>

#include <cstdio>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "io/lease.hpp"
#include "io/run_store.hpp"
#include "src/app/command.hpp"
#include "src/base/error.hpp"
#include "src/job/halt_file.hpp"

namespace banyan::app {
namespace {

constexpr std::string_view kUsage = R"(banyan stop RUN [--now | --at-step N | --cancel]

Asks the job in the run directory RUN to save and stop; from any host that sees the directory, by a file RUN/stop that the
job looks at once a second.  It ends with exit code 75, and its records say that a person wanted it, so that
scripts/slurm/train.sbatch and scripts/mpirun-loop.sh do not start it again.  Started again by hand, it continues where it
stopped.  A later call replaces an earlier one for as long as the job has not obeyed.

  --now        after the step it is doing; the default
  --at-step N  once N steps of the whole run are done, or at once when they are already
  --cancel     take back what an earlier call asked for

When no job runs there, the next one that starts is stopped in the same way; the answer says so.
)";

/// Who will obey.
std::string addressee(const std::filesystem::path& run) {
  const std::vector<std::int64_t> epochs = io::lease_epochs(run);
  if (epochs.empty() || io::lease_released(run, epochs.back())) return "no job runs there; the next one that starts";
  const auto owner = io::lease_owner(run, epochs.back());
  return owner ? "the job of " + owner->str() : "the job that runs there";
}

ExitCode run(Args& args) {
  const bool now = args.flag("now"), cancel = args.flag("cancel");
  const bool at = !args.values("at-step").empty();
  const job::Halt halt{at ? args.integer("at-step", 0, 1, std::numeric_limits<std::int64_t>::max()) : 0};
  args.finish(1, 1, kUsage);
  if (now + at + cancel > 1) throw UsageError("--now, --at-step and --cancel exclude each other; give one of them");
  const std::string& run_dir = args.positional()[0];
  if (!io::is_run_dir(run_dir))
    throw UsageError("{} is no run directory; give the directory that run.dir names in the config of the job", run_dir);

  if (cancel) {
    fmt::print("{}: {}\n", run_dir,
               job::remove_halt(run_dir) ? "the request to stop is taken back" : "nobody had asked for a stop");
  } else {
    job::write_halt(run_dir, halt);
    fmt::print("{}: {} will save and stop {}\n", run_dir, addressee(run_dir),
               at ? fmt::format("once {} steps are done", halt.at_step) : "after the step it is doing");
  }
  if (std::fflush(stdout) != 0) throw IoError("cannot write to standard output");
  return ExitCode::kFinished;
}

}  // namespace

Command stop_command() {
  return {.name = "stop",
          .summary = "ask a running job to save and stop, now or at a step",
          .usage = kUsage,
          .options_with_value = {"at-step"},
          .run = run};
}

}  // namespace banyan::app
