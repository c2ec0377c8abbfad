// banyan compare CONFIG: this mesh against one rank.
#include "src/train/compare.hpp"

#include <cstdio>

#include "src/app/command.hpp"
#include "src/base/log.hpp"
#include "src/job/run_job.hpp"

namespace banyan::app {
namespace {

constexpr std::string_view kUsage = R"(banyan compare CONFIG [--steps N] [--section.key=value ...]

Runs N steps (3 when not given) of the mesh of CONFIG and, in the same job on rank 0, of one rank alone, from the same
initial parameters and data, and compares losses and the gradient of every tensor.  Prints a table; exit code 65 when
something differs by more than 1e-4; with run.precision = bf16 by more than 5e-3 in losses or a tenth in gradients,
which is what rounding to 8 bits leaves.  Refuses when one rank cannot hold the whole model.  Writes no files.
)";

ExitCode run(Args& args) {
  const std::int64_t steps = args.integer("steps", 3, 1, 1000);
  const std::vector<std::string> overrides = args.overrides();
  args.finish(1, 1, kUsage);
  return job::run_job({.command = "compare", .config_path = args.positional()[0], .overrides = overrides},
                      [steps](job::Job& job) {
                        const train::Comparison c = train::compare(job, steps);
                        bool agrees = true;
                        if (job.root()) {
                          std::fputs(c.str().c_str(), stdout);
                          agrees = c.agrees();
                          if (agrees)
                            log::info("the mesh computes what one rank computes");
                          else
                            log::error("the mesh does not compute what one rank computes");
                        }
                        const std::int64_t worst = comm::all_reduce_value(
                            *job.everyone, std::int64_t{agrees ? 0 : 1}, comm::ReduceOp::kMax, "the verdict of rank 0");
                        return worst == 0 ? ExitCode::kFinished : ExitCode::kBadData;
                      });
}

}  // namespace

Command compare_command() {
  return {.name = "compare",
          .summary = "prove that a mesh computes what one rank computes",
          .usage = kUsage,
          .options_with_value = {"steps"},
          .run = run,
          .takes_config = true};
}

}  // namespace banyan::app
