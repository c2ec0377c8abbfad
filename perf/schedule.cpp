#include "src/parallel/schedule.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/dry/dry.hpp"
#include "perf/commands.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "src/base/section.hpp"
#include "src/config/load.hpp"
#include "src/job/setup.hpp"
#include "src/parallel/play.hpp"
#include "src/plan/cost.hpp"
#include "src/train/step.hpp"

namespace banyan::perf {

namespace {

constexpr const char* kUsage = R"(bench schedule [--microbatches=N] [--pass_ms=N] [--steps=N] [--json=FILE]

Started with mpirun on two ranks or more: one pipeline of them for every parallel.schedule, with the real messages between
its stages and with operations that sleep for what they would take, so that ranks need no cores of their own.  Prints the
bubble (the share of the pipeline's time in which a stage computes nothing, on average) beside that of the schedule played
with the same times.  A forward pass of a block sleeps for pass_ms.
)";

/// Passes the time that operations take, and counts it.
class Sleeper {
 public:
  void spend(double seconds) {
    owed_ += seconds;
    modelled_ += seconds;
    if (!asleep_ || owed_ < 1e-4) return;
    const Clock::time_point begin = Clock::now();
    std::this_thread::sleep_for(Seconds(owed_));
    slept_ += Seconds(Clock::now() - begin).count();
    owed_ = 0;
  }
  /// Seconds that operations have taken, as modelled and as slept for, since the last call.
  double take_modelled() { return std::exchange(modelled_, 0.0); }
  double take_slept() { return std::exchange(slept_, 0.0); }
  void sleep(bool on) {
    asleep_ = on;
    owed_ = 0;
  }

 private:
  bool asleep_ = false;
  double owed_ = 0, modelled_ = 0, slept_ = 0;
};

class SameSample final : public train::Samples {
 public:
  std::int64_t vocab() const override { return 16; }
  std::int64_t count() const override { return std::int64_t{1} << 40; }
  void read(std::int64_t, std::span<std::int32_t> out) override { std::fill(out.begin(), out.end(), 1); }
  std::string fingerprint() const override { return "the same"; }
};

/// As many blocks on every stage as go into two chunks, and next to no head.
config::Config pipeline_of(int ranks, long microbatches, const std::string& schedule) {
  std::string stages;
  const bool chunks = schedule == "interleaved" || schedule == "zb-v";
  for (int i = 0; i < (chunks ? 2 * ranks : ranks); ++i)
    stages += fmt::format("{}{}", i > 0 ? "," : "", chunks ? 1 : 2);
  const std::vector<std::string> overrides = {fmt::format("--model.layers={}", 2 * ranks),
                                              "--model.width=64",
                                              "--model.heads=4",
                                              "--model.context=32",
                                              "--model.vocab=16",
                                              fmt::format("--train.batch={}", microbatches),
                                              fmt::format("--parallel.pipeline={}", ranks),
                                              "--parallel.schedule=" + schedule,
                                              "--parallel.stages=" + stages,
                                              "--run.threads=1"};
  return config::load("", overrides).config;
}

struct Row {
  std::string schedule;
  int slots = 0;  ///< of the stage with most
  double played = 0, played_seconds = 0;
  std::vector<double> bubble, seconds;
};

/// Seconds of every kind of pass at every place, asked of the dry device without sleeping.
struct PassSeconds {
  std::vector<double> forward, backward, input, weights;
};
PassSeconds ask(job::Job& job, job::Team& team, Sleeper& sleeper) {
  const int places = static_cast<int>(team.layout.places.size());
  std::vector<double> all(static_cast<std::size_t>(4 * places), 0.0);
  model::Stage& stage = *team.stage;
  SameSample sample;
  train::BatchReader reader(team, sample, true);
  reader.begin(0);
  for (int chunk = 0; chunk < team.layout.chunks; ++chunk) {
    const auto mine = all.begin() + 4 * team.layout.place(team.at.pipeline, chunk);
    stage.load(0, reader.microbatch(0, chunk));
    sleeper.take_modelled();
    stage.forward(0);
    mine[0] = sleeper.take_modelled();
    const model::Range parts = model::parts_of_chunk(stage.spec(), chunk);
    if (stage.spec().split_backward) {
      stage.backward_input(0);
      mine[2] = sleeper.take_modelled();
    }
    for (auto part = static_cast<int>(parts.begin); part < parts.end; ++part)
      stage.spec().split_backward ? stage.backward_weights(0, part) : stage.backward(0, part);
    mine[stage.spec().split_backward ? 3 : 1] = sleeper.take_modelled();
  }
  job.everyone->all_reduce(job.queue, View(all.data(), {std::ssize(all)}), comm::ReduceOp::kSum, "times of passes")
      .wait();
  PassSeconds seconds;
  for (std::size_t p = 0; p < all.size(); p += 4) {
    seconds.forward.push_back(all[p]);
    seconds.backward.push_back(all[p + 1]);
    seconds.input.push_back(all[p + 2]);
    seconds.weights.push_back(all[p + 3]);
  }
  return seconds;
}

Row measure(comm::World& world, const config::Config& config, double pass_seconds, long steps) {
  Sleeper sleeper;
  const plan::Layout shape = plan::make_layout(config, world.size(), 0);
  const double flops = plan::block_flops(shape.model, false).forward * static_cast<double>(shape.model.context);
  job::Job job(world, "bench", config, "",
               kernels::make_dry_backend({.flops = flops / pass_seconds,
                                          .attention_flops = flops / pass_seconds,
                                          .memory_rate = 1e15,
                                          .start = 0,
                                          .spend = [&](double seconds) { sleeper.spend(seconds); }}));
  const auto team = job.assemble(config.model.vocab, job::Purpose::kTrain);
  if (!team) throw UsageError("bench schedule: {} ranks are more than the pipeline has", world.size());
  const PassSeconds passes = ask(job, *team, sleeper);
  SameSample sample;
  train::Trainer trainer(job, *team, sample);

  Row row;
  row.schedule = config.parallel.schedule;
  std::vector<std::vector<parallel::Action>> schedules;
  for (int s = 0; s < world.size(); ++s) {
    const parallel::ScheduleArgs args = team->layout.schedule_args({.pipeline = s});
    schedules.push_back(parallel::make_schedule(args));
    row.slots = std::max(row.slots, parallel::slots_needed(args));
  }
  const parallel::ActionCost cost = [&](int, const parallel::Action& a) {
    const auto place = static_cast<std::size_t>(a.place);
    const auto parts = static_cast<double>(team->layout.part_blocks[place].size());
    switch (a.kind) {
      case parallel::ActionKind::kForward:
        return passes.forward[place];
      case parallel::ActionKind::kBackward:
        return passes.backward[place] / parts;
      case parallel::ActionKind::kBackwardInput:
        return passes.input[place];
      case parallel::ActionKind::kBackwardWeights:
        return passes.weights[place] / parts;
      default:
        return 0.0;
    }
  };
  const parallel::Timeline timeline = parallel::play(schedules, cost, 0);
  row.played = timeline.bubble_share();
  row.played_seconds = timeline.makespan;

  sleeper.sleep(true);
  for (long step = 0; step < steps; ++step) {
    train::StepReport report;
    job.everyone->barrier("the start of a step");
    sleeper.take_slept();
    const Clock::time_point begin = Clock::now();
    trainer.compute_gradients(step, report);
    const double mine = Seconds(Clock::now() - begin).count();
    const double seconds = comm::all_reduce_value(*job.everyone, mine, comm::ReduceOp::kMax, "a time");
    const double busy = comm::all_reduce_value(*job.everyone, sleeper.take_slept(), comm::ReduceOp::kSum, "a time");
    row.seconds.push_back(seconds);
    row.bubble.push_back(1 - busy / world.size() / seconds);
  }
  return row;
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

}  // namespace

int bench_schedule(const std::vector<std::string>& words) {
  if (std::find(words.begin(), words.end(), "--help") != words.end()) {
    fmt::print("{}", kUsage);
    return 0;
  }
  const Options options(words, {"--microbatches", "--pass_ms", "--steps", "--json"});
  const long microbatches = options.number("--microbatches", 8), steps = options.number("--steps", 5);
  const double pass = static_cast<double>(options.number("--pass_ms", 20)) * 1e-3;
  if (microbatches < 1 || steps < 1 || pass <= 0)
    throw UsageError("bench schedule: --microbatches, --steps and --pass_ms are at least 1");
  const auto world = comm::make_mpi_world();
  if (world->size() < 2) throw UsageError("bench schedule needs a pipeline: start it with mpirun on two ranks or more");
  std::vector<Row> rows;
  for (const char* schedule : {"gpipe", "1f1b", "interleaved", "zb-h1", "zb-v"})
    rows.push_back(measure(*world, pipeline_of(world->size(), microbatches, schedule), pass, steps));
  if (world->rank() != 0) return 0;
  fmt::print("{} stages, {} microbatches, {} steps; bubble of the pipeline's time\n", world->size(), microbatches,
             steps);
  fmt::print("{:<12} {:>5} {:>9} {:>9} {:>19} {:>11} {:>11}\n", "schedule", "slots", "played", "measured",
             "lowest to highest", "played s", "measured s");
  Json list;
  for (const Row& r : rows) {
    const auto [low, high] = std::minmax_element(r.bubble.begin(), r.bubble.end());
    fmt::print("{:<12} {:>5} {:>8.1f}% {:>8.1f}% {:>8.1f}% to {:>6.1f}% {:>11.3f} {:>11.3f}\n", r.schedule, r.slots,
               100 * r.played, 100 * median(r.bubble), 100 * *low, 100 * *high, r.played_seconds, median(r.seconds));
    list.push_back({{"schedule", r.schedule},
                    {"slots", r.slots},
                    {"played_bubble", r.played},
                    {"bubble", median(r.bubble)},
                    {"played_seconds", r.played_seconds},
                    {"seconds", median(r.seconds)}});
  }
  if (const std::string path = options.text("--json", ""); !path.empty()) {
    std::ofstream out(path);
    if (!(out << list.dump() << '\n').flush()) throw IoError("{} cannot be written", path);
  }
  return 0;
}

}  // namespace banyan::perf
