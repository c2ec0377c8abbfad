#include "src/train/step.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <vector>

#include "comm/communicator.hpp"
#include "perf/commands.hpp"
#include "perf/peak.hpp"
#include "perf/timed_backend.hpp"
#include "src/base/bf16.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "src/base/process_memory.hpp"
#include "src/base/rng.hpp"
#include "src/base/units.hpp"
#include "src/config/load.hpp"
#include "src/job/setup.hpp"
#include "src/model/shapes.hpp"

namespace banyan::perf {

namespace {

constexpr const char* kUsage = R"(bench step [CONFIG] [--section.key=value ...] [--steps=N] [--ops] [--json=FILE]

Times whole optimizer steps (forward, backward, clipping, AdamW) on random tokens, after one step that is not counted.
Without CONFIG the case is GPT-2 124M in fp32, batch 4 x 256 a rank, two threads in all.  Prints the median, the
spread, tokens per second, and the share of the best GEMM rate measured in the same run.

Started with mpirun, on all ranks.  With parallel.data of 2 or more every second step then adds up the gradients only
when the backward pass is over, which shows what the addition takes and how much of it is hidden otherwise.

With --ops also the time of every operation in a step, for a case of one rank.
)";

/// The case every figure of perf/README.md is about; options override it.
std::vector<std::string> default_case(int ranks) {
  return {"--model.layers=12",
          "--model.width=768",
          "--model.heads=12",
          "--model.context=256",
          "--model.vocab=50257",
          "--parallel.microbatch=4",
          fmt::format("--train.batch={}", 4 * ranks),
          fmt::format("--run.threads={}", std::max(1, 2 / ranks))};
}

class RandomSamples final : public train::Samples {
 public:
  explicit RandomSamples(std::int64_t vocab) : vocab_(vocab) {}
  std::int64_t vocab() const override { return vocab_; }
  std::int64_t count() const override { return std::int64_t{1} << 40; }
  void read(std::int64_t index, std::span<std::int32_t> out) override {
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = static_cast<std::int32_t>(rng::mix(static_cast<std::uint64_t>(index), i) %
                                         static_cast<std::uint64_t>(vocab_));
  }
  std::string fingerprint() const override { return "random"; }

 private:
  std::int64_t vocab_;
};

double milliseconds_since(double begin) { return (now() - begin) * 1e3; }

/// Best of several products of a square matrix of f32 or bf16, in FLOP/s.
double gemm_peak(kernels::Backend& backend, DType dtype) {
  constexpr std::int64_t n = 2048;
  const auto bytes = static_cast<std::size_t>(n * n) * size_of(dtype);
  std::vector<View> m;
  for (int i = 0; i < 3; ++i) {
    m.emplace_back(static_cast<std::byte*>(backend.allocate(bytes)), dtype, Shape{n, n}, backend.memory_kind());
    for (std::int64_t j = 0; j < n * n; ++j) {
      const float value = static_cast<float>(j % 17) * 0.1f;
      dtype == DType::kF32 ? void(m.back().as<float>()[j] = value) : void(m.back().as<BF16>()[j] = value);
    }
  }
  double best = 0;
  for (int i = 0; i < 8; ++i) {
    const double begin = now();
    backend.gemm({}, {.c = m[2], .a = m[0], .b = m[1], .bias = {}});
    best = std::max(best, 2.0 * n * n * n / (milliseconds_since(begin) * 1e-3));
  }
  for (View v : m) backend.release(v.data, bytes);
  return best;
}

/// Steps of one kind: with the addition of gradients during the backward pass, or after it.
struct Steps {
  std::vector<double> step_ms, gradient_ms, update_ms;
  std::vector<double> reduce_ms;  ///< waited for the addition by the rank that waited least: it came last
};

struct Figures {
  Steps usual, apart;
  int ranks = 1, data_ranks = 1;
  std::string transport;
  bool root = true;
  double gemm_peak = 0, flops_per_step = 0, loss = 0;
  std::int64_t tokens_per_step = 0;
  std::int64_t memory = 0;  ///< most that the process had, beyond what it started with
  std::string device;
  OpTimes ops;  ///< of all steps that count
};

/// Whether a launcher of MPI programs started this process, with how many others.
int launched_ranks() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"})
    if (const char* value = std::getenv(name)) return std::max(1, std::atoi(value));
  return 1;
}

/// The schedule with every addition of gradients moved behind everything else.
std::vector<parallel::Action> additions_last(std::vector<parallel::Action> schedule) {
  std::stable_partition(schedule.begin(), schedule.end(),
                        [](const parallel::Action& a) { return a.kind != parallel::ActionKind::kReduceBucket; });
  return schedule;
}

Figures measure(const config::Config& config, int steps, bool ops) {
  Figures f;
  const std::int64_t memory_before = peak_memory();
  const auto on_ranks = [](const std::function<void(comm::World&)>& body) {
    if (launched_ranks() == 1) return comm::run_loopback(1, body);
    const auto world = comm::make_mpi_world();
    body(*world);
  };
  on_ranks([&](comm::World& world) {
    const int threads = static_cast<int>(config.run.threads);  // 0: all cores, as one rank has them for itself
    job::Job job(
        world, "bench", config, "",
        ops ? make_timed_backend(kernels::make_cpu_backend({.threads = threads, .max_isa = ""}), f.ops) : nullptr);
    const auto team = job.assemble(config.model.vocab, job::Purpose::kTrain);
    if (!team) throw UsageError("bench step: {} ranks are more than the mesh has; start fewer", world.size());
    team->stage->init_params(static_cast<std::uint64_t>(config.run.seed));
    RandomSamples samples(config.model.vocab);
    train::Trainer trainer(job, *team, samples);
    f.ranks = world.size();
    f.data_ranks = team->mesh.shape().data;
    f.root = job.root();
    f.transport = world.transport_name();
    f.device = job.backend->describe();
    f.tokens_per_step = team->layout.tokens_per_batch();
    f.flops_per_step = model::flops_per_token(team->layout.model) * static_cast<double>(f.tokens_per_step);
    f.gemm_peak = gemm_peak(*job.backend, team->layout.activations);
    const std::vector<parallel::Action> usual = trainer.schedule, apart = additions_last(usual);
    const bool both = f.data_ranks > 1;
    const auto over_ranks = [&](double mine, comm::ReduceOp op) {
      return comm::all_reduce_value(*job.everyone, mine, op, "a time");
    };
    for (int step = 0; step <= steps * (both ? 2 : 1); ++step) {
      train::StepReport report;
      const bool is_apart = both && step % 2 == 0;
      trainer.schedule = is_apart ? apart : usual;
      job.everyone->barrier("the start of a step");
      const double begin = now();
      const train::StepShare share = trainer.compute_gradients(step, report);
      const double gradients = milliseconds_since(begin), waited = report.reduce_wait * 1e3;
      const train::StepTotals totals = train::agree_on_step(job, step, share);
      trainer.apply_update(step, totals, report);
      const double whole = over_ranks(milliseconds_since(begin), comm::ReduceOp::kMax);
      f.loss = totals.loss;
      if (step == 0) {  // makes primitives, touches memory
        f.ops.clear();
        continue;
      }
      Steps& s = is_apart ? f.apart : f.usual;
      s.step_ms.push_back(whole);
      s.gradient_ms.push_back(gradients);
      s.update_ms.push_back(whole - gradients);
      s.reduce_ms.push_back(over_ranks(waited, comm::ReduceOp::kMin));
    }
  });
  f.memory = peak_memory() - memory_before;
  return f;
}

/// Of nothing: 0.
double median(std::vector<double> v) {
  if (v.empty()) return 0;
  std::sort(v.begin(), v.end());
  return v.size() % 2 ? v[v.size() / 2] : (v[v.size() / 2 - 1] + v[v.size() / 2]) / 2;
}

void print_row(const char* name, const std::vector<double>& ms) {
  fmt::print("  {:<22} median {:9.1f} ms   min {:9.1f}   max {:9.1f}\n", name, median(ms),
             *std::min_element(ms.begin(), ms.end()), *std::max_element(ms.begin(), ms.end()));
}

/// Operations by their share of the step, the longest first.
void print_ops(const OpTimes& ops, int steps, double step_ms) {
  std::vector<std::pair<std::string, OpTime>> sorted(ops.begin(), ops.end());
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  fmt::print("  {:<42}{:>8}{:>12}{:>9}{:>10}\n", "operation, of an average step", "calls", "ms", "share", "GFLOP/s");
  double sum = 0;
  for (const auto& [name, op] : sorted) {
    const double ms = op.seconds * 1e3 / steps;
    sum += ms;
    fmt::print("  {:<42}{:>8}{:>12.2f}{:>8.1f}%{:>10}\n", name, op.calls / steps, ms, 100 * ms / step_ms,
               op.flops > 0 ? fmt::format("{:.1f}", op.flops / op.seconds * 1e-9) : "");
  }
  fmt::print("  {:<42}{:>8}{:>12.2f}{:>8.1f}%\n", "outside of operations", "", step_ms - sum,
             100 * (step_ms - sum) / step_ms);
}

}  // namespace

int bench_step(const std::vector<std::string>& words) {
  std::vector<std::string> overrides;
  std::string config_path, json_path;
  std::int64_t steps = 5;
  bool ops = false;
  for (const std::string& a : words) {
    if (a == "--help") {
      fmt::print("{}", kUsage);
      return 0;
    }
    if (a.rfind("--steps=", 0) == 0) {
      const auto n = parse_count(a.substr(8));
      if (!n || *n < 1 || *n > 10000) throw UsageError("{} is refused; it must be a whole number from 1 to 10000", a);
      steps = *n;
    } else if (a == "--ops") {
      if (launched_ranks() > 1) throw UsageError("--ops looks into one rank; start bench step without a launcher");
      ops = true;
    } else if (a.rfind("--json=", 0) == 0) {
      json_path = a.substr(7);
    } else if (a.rfind("--", 0) == 0) {
      overrides.push_back(a);
    } else if (config_path.empty()) {
      config_path = a;
    } else {
      throw UsageError("{}: one config is enough\n{}", a, kUsage);
    }
  }
  if (config_path.empty()) {
    const std::vector<std::string> usual = default_case(launched_ranks());
    overrides.insert(overrides.begin(), usual.begin(), usual.end());
  }
  const config::Config config = config::load(config_path, overrides).config;
  if (config.model.vocab == 0)
    throw UsageError("model.vocab = 0 takes the dataset's, and there is none here; give --model.vocab=N");

  const Figures f = measure(config, static_cast<int>(steps), ops);
  if (!f.root) return 0;
  const double ms = median(f.usual.step_ms), rate = f.flops_per_step / (ms * 1e-3);
  fmt::print("{}\n{} parameters, {} tokens a step, {} steps, loss {:.4f}\n", f.device,
             format_count(static_cast<double>(model::parameter_count(plan::make_model_shape(config, 0)))),
             f.tokens_per_step, steps, f.loss);
  print_row("step", f.usual.step_ms);
  print_row("forward and backward", f.usual.gradient_ms);
  print_row("clip and update", f.usual.update_ms);
  fmt::print("  {:.1f} tokens/s, {:.1f} GFLOP/s of the model, {:.1f} % of the best GEMM ({:.1f} GFLOP/s)\n",
             static_cast<double>(f.tokens_per_step) / ms * 1e3, rate * 1e-9, 100 * rate / f.gemm_peak,
             f.gemm_peak * 1e-9);
  fmt::print("  memory of this rank: {} at most\n", format_bytes(static_cast<double>(f.memory)));
  if (ops) {
    double mean = 0;
    for (const double step : f.usual.step_ms) mean += step / static_cast<double>(steps);
    print_ops(f.ops, static_cast<int>(steps), mean);
  }
  // What was waited for without overlap is what the addition takes; what the step still gains counts as hidden.
  const double addition = median(f.apart.reduce_ms), exposed = median(f.usual.reduce_ms);
  const double gained = f.data_ranks > 1 ? median(f.apart.step_ms) - ms : 0;
  if (f.data_ranks > 1) {
    fmt::print("  gradients of {} data ranks over {}: adding them takes {:.1f} ms after the backward pass\n",
               f.data_ranks, f.transport, addition);
    fmt::print("  during it {:.1f} ms of waiting are left: {:.0f} % not hidden; the step is {:.1f} ms shorter\n",
               exposed, 100 * exposed / addition, gained);
  }
  if (!json_path.empty()) {
    Json j;
    j["case"] = "step";
    j["device"] = f.device;
    j["median_ms"] = ms;
    j["min_ms"] = *std::min_element(f.usual.step_ms.begin(), f.usual.step_ms.end());
    j["max_ms"] = *std::max_element(f.usual.step_ms.begin(), f.usual.step_ms.end());
    j["steps_ms"] = f.usual.step_ms;
    j["update_ms"] = median(f.usual.update_ms);
    j["tokens_per_s"] = static_cast<double>(f.tokens_per_step) / ms * 1e3;
    j["gemm_peak_flops"] = f.gemm_peak;
    j["fraction_of_gemm_peak"] = rate / f.gemm_peak;
    j["ranks"] = f.ranks;
    j["memory_bytes"] = f.memory;
    if (f.data_ranks > 1) {
      j["transport"] = f.transport;
      j["gradient_addition_ms"] = addition;
      j["gradient_addition_not_hidden_ms"] = exposed;
      j["share_not_hidden"] = exposed / addition;
      j["step_ms_without_overlap"] = median(f.apart.step_ms);
    }
    std::ofstream out(json_path);
    if (!(out << j.dump() << '\n').flush()) throw IoError("{} cannot be written", json_path);
  }
  return 0;
}

}  // namespace banyan::perf
