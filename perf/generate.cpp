#include "src/infer/generate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <vector>

#include "comm/communicator.hpp"
#include "perf/comm_row.hpp"
#include "perf/commands.hpp"
#include "perf/peak.hpp"
#include "perf/timed_backend.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "src/base/rng.hpp"
#include "src/base/units.hpp"
#include "src/config/load.hpp"
#include "src/job/setup.hpp"
#include "src/model/param_store.hpp"
#include "src/model/shapes.hpp"

namespace banyan::perf {
namespace {

constexpr const char* kUsage =
    R"(bench generate [CONFIG] [--section.key=value ...] [--prompt=N] [--repeats=N] [--ops] [--json=FILE]

Times generation with random parameters and random prompts on one rank: how fast prompts are read, how fast tokens are
written.  generate.batch prompts of N tokens (default 512) run together; generate.tokens, generate.weights and the rest
of [generate] are the job's own.  Without CONFIG the case is a Llama of 134 million parameters (30 layers, 576 wide, a
vocabulary of 49152), one prompt, 128 new tokens, weights in bf16, two threads.

Rates are medians over the repeats (default 5), after one that does not count.  The share of the peak of a prompt is that
of the arithmetic of its products by the weights of the blocks; of writing, that of reading all weights once a pass.

With --ops also the time of every operation in a repeat.
)";

const std::vector<std::string> kUsual = {
    "--model.layers=30",  "--model.width=576",     "--model.heads=9",         "--model.kv_heads=3",
    "--model.ffn=1536",   "--model.context=1024",  "--model.vocab=49152",     "--model.norm=rms",
    "--model.mlp=swiglu", "--model.bias=false",    "--model.position=rotary", "--generate.batch=1",
    "--run.threads=2",    "--generate.tokens=128", "--generate.weights=bf16", "--generate.temperature=0"};

struct Figures {
  std::vector<double> reading, writing;  ///< tokens per second
  double flops_per_token = 0;            ///< of the products by the weights of the blocks
  double weight_bytes = 0;               ///< what a pass reads of them and of the head
  double flops = 0, bandwidth = 0;       ///< peaks: of the arithmetic that prompts take, of reading
  std::string device;
  OpTimes ops;
};

std::vector<infer::Prompt> random_prompts(std::int64_t count, std::int64_t length, std::int64_t vocab) {
  std::vector<infer::Prompt> prompts;
  for (std::int64_t p = 0; p < count; ++p) {
    infer::Prompt& prompt = prompts.emplace_back();
    prompt.index = p;
    for (std::int64_t i = 0; i < length; ++i)
      prompt.tokens.push_back(static_cast<std::int32_t>(
          rng::mix(static_cast<std::uint64_t>(p), static_cast<std::uint64_t>(i)) % static_cast<std::uint64_t>(vocab)));
  }
  return prompts;
}

Figures measure(const config::Config& config, std::int64_t length, std::int64_t repeats, bool ops) {
  Figures f;
  comm::run_loopback(1, [&](comm::World& world) {
    const int threads = static_cast<int>(config.run.threads);
    job::Job job(
        world, "bench", config, "",
        ops ? make_timed_backend(kernels::make_cpu_backend({.threads = threads, .max_isa = ""}), f.ops) : nullptr);
    const auto team = job.assemble(config.model.vocab, job::Purpose::kGenerate);
    team->stage->init_params(static_cast<std::uint64_t>(config.run.seed));
    f.device = job.backend->describe();
    const model::StageSpec& spec = team->stage->spec();
    const std::vector<model::LocalParam>& params = team->stage->params();
    f.weight_bytes = static_cast<double>(model::value_bytes(params, spec.weights).bytes());
    for (const model::LocalParam& p : params) {
      if (p.count.rank() == 2 && p.logical.name.rfind("blocks.", 0) == 0)
        f.flops_per_token += 2.0 * static_cast<double>(p.count.count());
      if (p.logical.name == "embed.token.weight" && !spec.shape.tied)  // of which a pass reads a few rows
        f.weight_bytes -= static_cast<double>(model::value_bytes({p}, spec.weights).bytes());
    }
    f.flops = spec.weights == DType::kF32 ? measure_peak(threads).flops : measure_bf16_peak(threads);
    f.bandwidth = measure_reading_peak(threads);

    const auto& g = config.generate;
    infer::Generator generator(*team,
                               {.sampling = {.temperature = g.temperature,
                                             .top_k = g.top_k,
                                             .top_p = g.top_p,
                                             .seed = static_cast<std::uint64_t>(g.seed)},
                                .batch = g.batch,
                                .tokens = g.tokens,
                                .end_token = -1,
                                .vocab = config.model.vocab},
                               job.queue);
    const std::vector<infer::Prompt> prompts = random_prompts(g.batch, length, config.model.vocab);
    for (std::int64_t r = 0; r <= repeats; ++r) {
      const infer::GenerateCounts before = generator.counts();
      generator.generate(prompts);
      if (r == 0) {  // makes primitives, touches memory
        f.ops.clear();
        continue;
      }
      const auto rate = [](const infer::GenerateCounts::Pace& now, const infer::GenerateCounts::Pace& then) {
        return static_cast<double>(now.rows - then.rows) / std::max(1e-9, now.seconds - then.seconds);
      };
      f.reading.push_back(rate(generator.counts().reading, before.reading));
      f.writing.push_back(rate(generator.counts().writing, before.writing));
    }
  });
  return f;
}

}  // namespace

int bench_generate(const std::vector<std::string>& words) {
  std::vector<std::string> overrides;
  std::string config_path, json_path;
  std::int64_t length = 512, repeats = 5;
  bool ops = false;
  const auto number_in = [](const std::string& word, std::size_t begin, std::int64_t most) {
    const auto n = parse_count(word.substr(begin));
    if (!n || *n < 1 || *n > most)
      throw UsageError("{} is refused; it must be a whole number from 1 to {}", word, most);
    return *n;
  };
  for (const std::string& a : words) {
    if (a == "--help") {
      fmt::print("{}", kUsage);
      return 0;
    }
    if (a.rfind("--prompt=", 0) == 0)
      length = number_in(a, 9, 1 << 20);
    else if (a.rfind("--repeats=", 0) == 0)
      repeats = number_in(a, 10, 10000);
    else if (a == "--ops")
      ops = true;
    else if (a.rfind("--json=", 0) == 0)
      json_path = a.substr(7);
    else if (a.rfind("--", 0) == 0)
      overrides.push_back(a);
    else if (config_path.empty())
      config_path = a;
    else
      throw UsageError("{}: one config is enough\n{}", a, kUsage);
  }
  if (config_path.empty()) overrides.insert(overrides.begin(), kUsual.begin(), kUsual.end());
  const config::Config config = config::load(config_path, overrides).config;
  if (config.model.vocab == 0)
    throw UsageError("model.vocab = 0 takes the dataset's, and there is none here; give --model.vocab=N");
  if (length > config.model.context)
    throw UsageError("a prompt of {} tokens does not fit into model.context = {}; give --prompt=N", length,
                     config.model.context);

  const Figures f = measure(config, length, repeats, ops);
  const double reading = median(f.reading), writing = median(f.writing),
               batch = static_cast<double>(config.generate.batch);
  const double of_flops = f.flops > 0 ? reading * f.flops_per_token / f.flops : 0;
  const double of_bandwidth = writing / batch * f.weight_bytes / f.bandwidth;
  fmt::print("{}\n{} parameters, weights in {} ({}), {} prompts of {} tokens, {} new ones each, {} repeats\n", f.device,
             format_count(static_cast<double>(model::parameter_count(plan::make_model_shape(config, 0)))),
             config.generate.weights, format_bytes(f.weight_bytes), config.generate.batch, length,
             config.generate.tokens, repeats);
  const auto spread = [](const std::vector<double>& v) {
    return fmt::format("({:.0f} to {:.0f})", *std::min_element(v.begin(), v.end()),
                       *std::max_element(v.begin(), v.end()));
  };
  fmt::print("  reads prompts at  {:8.1f} tokens/s {}, {}\n", reading, spread(f.reading),
             f.flops > 0 ? fmt::format("{:.0f} % of {:.0f} GFLOP/s", 100 * of_flops, f.flops * 1e-9)
                         : "on a processor that multiplies no bf16");
  fmt::print("  writes            {:8.1f} tokens/s {}, {:.0f} % of reading {:.1f} GB/s\n", writing, spread(f.writing),
             100 * of_bandwidth, f.bandwidth * 1e-9);
  if (ops)
    for (const auto& [name, op] : f.ops)
      fmt::print("  {:<42}{:>8}{:>12.2f} ms\n", name, op.calls / repeats,
                 op.seconds * 1e3 / static_cast<double>(repeats));
  if (!json_path.empty()) {
    const Json j{{"case", "generate"},
                 {"device", f.device},
                 {"weights", config.generate.weights},
                 {"batch", config.generate.batch},
                 {"prompt", length},
                 {"reading_tokens_per_s", f.reading},
                 {"writing_tokens_per_s", f.writing},
                 {"peak_flops", f.flops},
                 {"peak_reading", f.bandwidth},
                 {"reading_fraction_of_flops", of_flops},
                 {"writing_fraction_of_reading", of_bandwidth}};
    std::ofstream out(json_path);
    if (!(out << j.dump() << '\n').flush()) throw IoError("{} cannot be written", json_path);
  }
  return 0;
}

}  // namespace banyan::perf
