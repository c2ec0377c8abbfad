// banyan plan CONFIG: what a job will look like, without starting it.
#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <vector>

#include "io/dataset.hpp"
#include "kernels/backend.hpp"
#include "src/app/command.hpp"
#include "src/app/command_config.hpp"
#include "src/base/error.hpp"
#include "src/base/process_memory.hpp"
#include "src/base/section.hpp"
#include "src/base/units.hpp"
#include "src/parallel/placement.hpp"
#include "src/plan/collectives.hpp"
#include "src/plan/memory.hpp"
#include "src/plan/report.hpp"
#include "src/plan/search.hpp"

namespace banyan::app {
namespace {

constexpr std::string_view kUsage =
    R"(banyan plan CONFIG [--ranks N] [--gflops X] [--link SIZE] [--memory SIZE] [--per-node N] [--search] [--section.key=value ...]

Prints what `banyan train CONFIG` on N ranks will do: mesh, pipeline stages, schedule, memory of a rank of each stage, and
a prediction of the step's time and of the plans of collectives.  Starts nothing and needs no MPI.

  --ranks N       ranks of the job (default 1)
  --gflops X      GFLOP/s that matrix products reach on one rank; measured on this machine when left out
  --link SIZE     bytes a second that a message between two ranks reaches (default 5GB)
  --per-node N    ranks of one node (default: all of them), for the plans of collectives
  --memory SIZE   memory of one rank, for example 16GiB; a plan that needs more is refused with exit code 78
  --search        instead of one plan: every tensor x data x pipeline and microbatch that N ranks allow and that fits into
                  the memory of a rank, the fastest by prediction first

model.vocab = 0 needs the token files of data.train to be there.
)";

std::int64_t dataset_vocab(const config::Config& config) {
  if (config.model.vocab != 0 || config.data.train.empty()) return 0;
  io::DatasetOptions options;
  options.train = config.data.train;
  options.length = 1;
  return io::Dataset::open(options).vocab();
}

/// FLOP/s of a matrix product of the model's own shape: the best of a few, since a busy machine only ever slows it.
double measured_flops(const config::Config& config, const model::ModelShape& model) {
  const std::unique_ptr<kernels::Backend> backend =
      kernels::make_cpu_backend({.threads = static_cast<int>(config.run.threads), .max_isa = ""});
  const std::int64_t rows = std::min<std::int64_t>(512, config.parallel.microbatch * model.context);
  const std::int64_t in = std::min<std::int64_t>(2048, model.width);
  const std::int64_t out = std::min<std::int64_t>(2048, std::max<std::int64_t>(1, model.ffn / config.parallel.tensor));
  std::vector<float> a(static_cast<std::size_t>(rows * in), 0.5f), b(static_cast<std::size_t>(out * in), 0.25f),
      c(static_cast<std::size_t>(rows * out));
  const kernels::Gemm gemm{.c = View(c.data(), {rows, out}),
                           .a = ConstView(a.data(), {rows, in}),
                           .b = ConstView(b.data(), {out, in}),
                           .transpose_b = true,
                           .bias = {}};
  double best = 0;
  const Clock::time_point begun = Clock::now();
  for (int i = 0; i < 3 || Seconds(Clock::now() - begun) < Seconds(0.3); ++i) {
    const Clock::time_point start = Clock::now();
    backend->gemm({}, gemm);
    backend->synchronize({});
    const double seconds = Seconds(Clock::now() - start).count();
    best = std::max(best, 2.0 * static_cast<double>(rows * in * out) / std::max(1e-9, seconds));
  }
  return best;
}

/// What a job on nodes of `per_node` ranks chooses before it has measured anything.
std::string collectives(const config::Config& config, const plan::Layout& layout, int ranks, int per_node,
                        const std::int64_t* rate) {
  const parallel::Fabric fabric = parallel::uniform_fabric(ranks, per_node);
  const parallel::Mesh mesh(layout.mesh, parallel::place(layout.mesh, fabric));
  comm::Links links;
  for (comm::LinkCost* l : {&links.node, &links.leaf, &links.across})
    if (rate) l->rate = static_cast<double>(*rate);
  plan::BookRequest request{.axes = plan::axes(mesh, ranks, layout.model.tied && layout.mesh.pipeline > 1),
                            .fabric = fabric,
                            .shared_memory = config.comm.shared_memory == "on",
                            .wishes = plan::wishes(config),
                            .links = links};
  if (request.axes.empty()) return "";
  return "\ncollectives, for usual links (a job measures its own)\n" + comm::book_table(plan::make_book(request).book);
}

ExitCode run(Args& args) {
  const config::Config config = load_command_config(args).config;
  const auto ranks = static_cast<int>(args.integer("ranks", 1, 1, 1 << 24));
  const double gflops = args.real("gflops", 0);
  const std::string memory_text = args.value("memory").value_or("");
  const std::string link_text = args.value("link").value_or("");
  const auto per_node = static_cast<int>(args.integer("per-node", ranks, 1, 1 << 24));
  const bool search = args.flag("search");
  args.finish(1, 1, kUsage);
  if (gflops < 0) throw UsageError("--gflops={} is refused; it is a speed", gflops);
  const std::optional<std::int64_t> memory = parse_bytes(memory_text);
  if (!memory_text.empty() && (!memory || *memory < 1))
    throw UsageError("--memory={} is refused; write a size such as 16GiB", memory_text);
  const std::optional<std::int64_t> link = parse_bytes(link_text.empty() ? "5GB" : link_text);
  if (!link || *link < 1) throw UsageError("--link={} is refused; write a size such as 5GB", link_text);

  const std::int64_t vocab = dataset_vocab(config);
  plan::Machine machine;
  machine.flops = gflops > 0 ? gflops * 1e9 : measured_flops(config, plan::make_model_shape(config, vocab));
  machine.message_rate = static_cast<double>(*link);
  if (search) {
    const plan::SearchResult result = plan::search_divisions(config, ranks, vocab, machine, memory.value_or(0));
    if (result.divisions.empty())
      throw ConfigError("no division of {} ranks works{}; use more ranks, parallel.zero = 1 or train.recompute = block",
                        ranks, result.too_large > 0 ? " within --memory" : "");
    fmt::print("{}", plan::division_table(result, 12));
    return ExitCode::kFinished;
  }
  const plan::Layout layout = plan::make_layout(config, ranks, vocab);
  fmt::print("{}", plan::report(layout, config, machine));
  fmt::print("{}", collectives(config, layout, ranks, per_node, link_text.empty() ? nullptr : &*link));

  const std::int64_t needed = plan::largest_rank(layout, config);
  const std::int64_t here = machine_memory();
  fmt::print("\nthis machine has {}, room for {} such rank{}\n", format_bytes(static_cast<double>(here)), here / needed,
             here / needed == 1 ? "" : "s");
  std::fflush(stdout);
  if (memory && needed > *memory)
    throw ConfigError(
        "a rank needs {}, but --memory = {}; raise parallel.tensor or parallel.pipeline, set parallel.zero = 1 or "
        "train.recompute = block, or lower parallel.microbatch",
        format_bytes(static_cast<double>(needed)), exact_bytes(*memory));
  return ExitCode::kFinished;
}

}  // namespace

Command plan_command() {
  return {.name = "plan",
          .summary = "print mesh, stages, schedule, memory and predicted time of a job",
          .usage = kUsage,
          .options_with_value = {"ranks", "gflops", "link", "memory", "per-node"},
          .run = run,
          .takes_config = true};
}

}  // namespace banyan::app
