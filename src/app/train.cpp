// banyan train CONFIG: trains, resumes, stops.
#include "src/app/command.hpp"
#include "src/job/run_job.hpp"
#include "src/train/loop.hpp"

namespace banyan::app {
namespace {

constexpr std::string_view kUsage = R"(banyan train CONFIG [--section.key=value ...]

Trains the model of CONFIG; under mpirun or srun on all their ranks, divided as [parallel] says.  If the run directory
(run.dir) holds checkpoints, continues from the newest that verifies (checkpoint.resume).  SIGUSR1, SIGTERM or Ctrl-C to
any rank stops all of them at the next step with a checkpoint and exit code 75; so do `banyan stop` and the end of the
time that the batch system gives (run.time_left).

Writes into the run directory: log.txt, metrics.jsonl (one line per step), config.ini, plan.txt, plans.json,
saves.jsonl, hostfile, ckpt/, causes/, algorithms.txt with run.backend = cuda, and stacks/ when a rank hangs
(run.watchdog).
)";

ExitCode run(Args& args) {
  const std::vector<std::string> overrides = args.overrides();
  args.finish(1, 1, kUsage);
  return job::run_job({.command = "train", .config_path = args.positional()[0], .overrides = overrides}, train::train);
}

}  // namespace

Command train_command() {
  return {.name = "train",
          .summary = "train a model, from the start or from the newest checkpoint",
          .usage = kUsage,
          .options_with_value = {},
          .run = run,
          .takes_config = true};
}

}  // namespace banyan::app
