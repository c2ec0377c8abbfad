// banyan-sim: the referee of the price of placements.  Trains steps of CONFIG on ranks that SimGrid plays, once for
// each of some placements, and holds what they take against what src/plan predicts.  Everything is what a job does but
// for the device, which is dry, and the data (sim/README.md).
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/mpi/mpi_world.hpp"
#include "sim/draw.hpp"
#include "sim/links.hpp"
#include "sim/played.hpp"
#include "sim/verdict.hpp"
#include "src/app/args.hpp"
#include "src/base/json.hpp"
#include "src/base/log.hpp"
#include "src/config/load.hpp"
#include "src/job/setup.hpp"
#include "src/job/topology.hpp"
#include "src/plan/cost.hpp"
#include "src/train/step.hpp"

namespace banyan::sim {
namespace {

constexpr std::string_view kUsage = R"(smpirun ... banyan-sim CONFIG [--placements=N] [--seed=N] [--json=FILE] [--plans]
                       [--section.key=value ...]

Plays a training step of CONFIG for N placements (default 24) drawn from a seed (default 1), prints what each took
beside its prediction, and Spearman's rank correlation of the two;
--plans also prints the collectives that each used. CONFIG names what is played: run.machine a machine
file, topology.source a fabric file, model.vocab a number. scripts/simulate.sh writes all that and starts it.
)";

struct Wish {
  config::Config config;
  int placements = 0;
  std::uint64_t seed = 0;
  std::string json;
  bool plans = false;
};

Wish read(const std::vector<std::string>& words) {
  app::Args args(words, {});
  Wish wish;
  wish.placements = static_cast<int>(args.integer("placements", 24, 2, 100000));
  wish.seed = static_cast<std::uint64_t>(args.integer("seed", 1, 0, std::int64_t{1} << 40));
  wish.json = args.value("json").value_or("");
  wish.plans = args.flag("plans");
  const std::vector<std::string> overrides = args.overrides();
  args.finish(1, 1, kUsage);
  wish.config = config::load(args.positional()[0], overrides).config;
  const config::Config& c = wish.config;
  if (c.run.machine.empty()) throw ConfigError("run.machine is empty; name the machine file that is to be played");
  if (c.model.vocab == 0)
    throw ConfigError("model.vocab = 0 takes the dataset's, and there is none here; give a number");
  if (c.comm.shared_memory == "on")
    throw ConfigError("comm.shared_memory = on, but time passes in messages only; use off");
  if (c.comm.progress != "calls")
    throw ConfigError("comm.progress = {}, but a rank that is played has one thread only; use calls", c.comm.progress);
  if (c.topology.placement != "auto")
    throw ConfigError("topology.placement = {}, but placements are drawn; leave the key out", c.topology.placement);
  return wish;
}

/// Tokens of no importance.
class DrySamples final : public train::Samples {
 public:
  explicit DrySamples(std::int64_t vocab) : vocab_(vocab) {}
  std::int64_t vocab() const override { return vocab_; }
  std::int64_t count() const override { return std::int64_t{1} << 40; }
  std::string fingerprint() const override { return "dry"; }
  void read(std::int64_t, std::span<std::int32_t> out) override { std::fill(out.begin(), out.end(), 0); }

 private:
  const std::int64_t vocab_;
};

class Referee {
 public:
  Referee(job::Job& job, const plan::Machine& machine)
      : job_(job), machine_(machine), samples_(job.config.model.vocab) {
    job_.usual_links = links_of(machine);
  }

  /// One trial for each placement; all ranks come to the same answer.
  std::vector<Trial> play(int placements, std::uint64_t seed, bool plans) {
    const plan::Layout layout = plan::make_layout(job_.config, job_.world.size(), job_.config.model.vocab);
    if (layout.spares() > 0)
      throw ConfigError("{} of {} ranks would idle: start as many as the mesh {} has", layout.spares(),
                        job_.world.size(), layout.mesh.str());
    const parallel::Fabric fabric = job::fabric_of(job_.world, job_.network, job_.world.size());
    std::vector<Trial> trials;
    plan::PlacementQuestion question(layout, fabric, links_of(machine_));
    question.computing = plan::computing_of(layout, machine_);
    for (plan::PlacementPrice& price : draw_placements(question, placements, seed)) {
      const std::unique_ptr<job::Team> team =
          job_.assemble(job_.config.model.vocab, job::Purpose::kTrain, price.process_of);
      train::Trainer trainer(job_, *team, samples_);
      trials.push_back({std::move(price), step(trainer)});
      if (!job_.root()) continue;
      fmt::print("{:3}  {:<56} played {:.6f} s, predicted messages {:.6f} s\n", trials.size(), trials.back().price.name,
                 trials.back().step, trials.back().price.seconds());
      if (plans) fmt::print("{}", comm::book_table(job_.plans));
      std::fflush(stdout);
    }
    return trials;
  }
  /// Seconds of a step that waits for no message, under any placement; to be played last, because links are never again
  /// what they were.
  double play_idle(std::vector<int> process_of) {
    const std::unique_ptr<job::Team> team =
        job_.assemble(job_.config.model.vocab, job::Purpose::kTrain, std::move(process_of));
    train::Trainer trainer(job_, *team, samples_);
    job_.everyone->barrier("the network to rest");
    if (job_.root()) remove_network();
    return step(trainer);
  }

 private:
  /// Seconds from when all ranks begin until the last one is done.
  double step(train::Trainer& trainer) {
    job_.everyone->barrier("all ranks to begin a step");
    const double begin = now();
    train::BadSteps bad(job_.config);
    train::train_step(trainer, 0, {}, bad);
    job_.everyone->barrier("all ranks to end a step");
    return comm::all_reduce_value(*job_.everyone, now() - begin, comm::ReduceOp::kMax, "how long a step took");
  }

  job::Job& job_;
  const plan::Machine& machine_;
  DrySamples samples_;
};

void run(const std::vector<std::string>& words) {
  const Wish wish = read(words);
  const plan::Machine machine = plan::load_machine(wish.config.run.machine);
  const auto world = comm::make_simulated_world(paying);
  log::setup({.level = log::Level::kError, .file = "", .rank = world->rank(), .ranks = 1});
  kernels::DryOptions device = device_of(machine);
  device.spend = spend;
  job::Job job(*world, "sim", wish.config, config::write(wish.config), kernels::make_dry_backend(std::move(device)));
  Referee referee(job, machine);
  const std::vector<Trial> trials = referee.play(wish.placements, wish.seed, wish.plans);
  const double idle = referee.play_idle(trials.front().price.process_of);
  if (!job.root()) return;
  fmt::print("\n{}", verdict_table(trials, idle));
  std::fflush(stdout);
  if (wish.json.empty()) return;
  std::ofstream out(wish.json);
  if (!(out << to_json(trials, idle).dump() << '\n').flush()) throw IoError("{} cannot be written", wish.json);
}

}  // namespace
}  // namespace banyan::sim

int main(int argc, char** argv) {
  using namespace banyan;
  try {
    sim::run(std::vector<std::string>(argv + 1, argv + argc));
    return 0;
  } catch (const Error& e) {
    fmt::print(stderr, "banyan-sim: {}\n", e.what());
    std::fflush(nullptr);
    // Ends all ranks, which are one process.
    ::_exit(static_cast<int>(e.code()));
  } catch (const std::exception& e) {
    fmt::print(stderr, "banyan-sim: {}\n", e.what());
    std::fflush(nullptr);
    ::_exit(static_cast<int>(ExitCode::kBug));
  }
}
