#include "src/train/step.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <vector>

#include "comm/communicator.hpp"
#include "perf/commands.hpp"
#include "perf/peak.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "src/base/rng.hpp"
#include "src/base/units.hpp"
#include "src/config/load.hpp"
#include "src/job/setup.hpp"
#include "src/model/shapes.hpp"

namespace banyan::perf {

namespace {

constexpr const char* kUsage = R"(bench step [CONFIG] [--section.key=value ...] [--steps=N] [--json=FILE]

Times whole optimizer steps (forward, backward, clipping, AdamW) of one rank on random tokens, after one step that is
not counted.  Without CONFIG the case is GPT-2 124M in fp32, batch 4 x 256, two threads.  Prints the median, the
spread, tokens per second, and the share of the best GEMM rate measured in the same run.
)";

/// The case every figure of perf/README.md is about; options override it.
const std::vector<std::string> kDefaultCase{"--model.layers=12",   "--model.width=768",   "--model.heads=12",
                                            "--model.context=256", "--model.vocab=50257", "--parallel.microbatch=4",
                                            "--train.batch=4",     "--run.threads=2"};

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

/// Best of several products of a square matrix, in FLOP/s.
double gemm_peak(kernels::Backend& backend) {
  constexpr std::int64_t n = 2048;
  const auto bytes = static_cast<std::size_t>(n * n) * sizeof(float);
  std::vector<View> m;
  for (int i = 0; i < 3; ++i) {
    m.emplace_back(static_cast<std::byte*>(backend.allocate(bytes)), DType::kF32, Shape{n, n}, backend.memory_kind());
    for (std::int64_t j = 0; j < n * n; ++j) m.back().as<float>()[j] = static_cast<float>(j % 17) * 0.1f;
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

struct Figures {
  std::vector<double> step_ms, gradient_ms, update_ms;
  double gemm_peak = 0, flops_per_step = 0, loss = 0;
  std::int64_t tokens_per_step = 0;
  std::string device;
};

Figures measure(const config::Config& config, int steps) {
  Figures f;
  comm::run_loopback(1, [&](comm::World& world) {
    job::Job job(world, "bench", config, "");
    const auto team = job.assemble(config.model.vocab, job::Purpose::kTrain);
    team->stage->init_params(static_cast<std::uint64_t>(config.run.seed));
    RandomSamples samples(config.model.vocab);
    train::Trainer trainer(job, *team, samples);
    f.device = job.backend->describe();
    f.tokens_per_step = team->layout.tokens_per_batch();
    f.flops_per_step = model::flops_per_token(team->layout.model) * static_cast<double>(f.tokens_per_step);
    f.gemm_peak = gemm_peak(*job.backend);
    for (int step = 0; step <= steps; ++step) {
      train::StepReport report;
      const double begin = now();
      const train::StepShare share = trainer.compute_gradients(step, report);
      const double gradients = milliseconds_since(begin);
      const train::StepTotals totals = train::agree_on_step(job, step, share);
      trainer.apply_update(step, totals, report);
      const double whole = milliseconds_since(begin);
      f.loss = totals.loss;
      if (step == 0) continue;  // makes primitives, touches memory
      f.step_ms.push_back(whole);
      f.gradient_ms.push_back(gradients);
      f.update_ms.push_back(whole - gradients);
    }
  });
  return f;
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v.size() % 2 ? v[v.size() / 2] : (v[v.size() / 2 - 1] + v[v.size() / 2]) / 2;
}

void print_row(const char* name, const std::vector<double>& ms) {
  fmt::print("  {:<22} median {:9.1f} ms   min {:9.1f}   max {:9.1f}\n", name, median(ms),
             *std::min_element(ms.begin(), ms.end()), *std::max_element(ms.begin(), ms.end()));
}

}  // namespace

int bench_step(const std::vector<std::string>& words) {
  std::vector<std::string> overrides;
  std::string config_path, json_path;
  std::int64_t steps = 5;
  for (const std::string& a : words) {
    if (a == "--help") {
      fmt::print("{}", kUsage);
      return 0;
    }
    if (a.rfind("--steps=", 0) == 0) {
      const auto n = parse_count(a.substr(8));
      if (!n || *n < 1 || *n > 10000) throw UsageError("{} is refused; it must be a whole number from 1 to 10000", a);
      steps = *n;
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
  if (config_path.empty()) overrides.insert(overrides.begin(), kDefaultCase.begin(), kDefaultCase.end());
  const config::Config config = config::load(config_path, overrides).config;
  if (config.model.vocab == 0)
    throw UsageError("model.vocab = 0 takes the dataset's, and there is none here; give --model.vocab=N");

  const Figures f = measure(config, static_cast<int>(steps));
  const double ms = median(f.step_ms), rate = f.flops_per_step / (ms * 1e-3);
  fmt::print("{}\n{} parameters, {} tokens a step, {} steps, loss {:.4f}\n", f.device,
             format_count(static_cast<double>(model::parameter_count(plan::make_model_shape(config, 0)))),
             f.tokens_per_step, steps, f.loss);
  print_row("step", f.step_ms);
  print_row("forward and backward", f.gradient_ms);
  print_row("clip and update", f.update_ms);
  fmt::print("  {:.1f} tokens/s, {:.1f} GFLOP/s of the model, {:.1f} % of the best GEMM ({:.1f} GFLOP/s)\n",
             static_cast<double>(f.tokens_per_step) / ms * 1e3, rate * 1e-9, 100 * rate / f.gemm_peak,
             f.gemm_peak * 1e-9);
  if (!json_path.empty()) {
    Json j;
    j["case"] = "step";
    j["device"] = f.device;
    j["median_ms"] = ms;
    j["min_ms"] = *std::min_element(f.step_ms.begin(), f.step_ms.end());
    j["max_ms"] = *std::max_element(f.step_ms.begin(), f.step_ms.end());
    j["update_ms"] = median(f.update_ms);
    j["tokens_per_s"] = static_cast<double>(f.tokens_per_step) / ms * 1e3;
    j["gemm_peak_flops"] = f.gemm_peak;
    j["fraction_of_gemm_peak"] = rate / f.gemm_peak;
    std::ofstream out(json_path);
    if (!(out << j.dump() << '\n').flush()) throw IoError("{} cannot be written", json_path);
  }
  return 0;
}

}  // namespace banyan::perf
