// banyan plan CONFIG: what a job will look like, without starting it.
#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <vector>

#include "comm/topology/read_fabric.hpp"
#include "kernels/backend.hpp"
#include "src/app/command.hpp"
#include "src/app/command_config.hpp"
#include "src/app/dataset_vocab.hpp"
#include "src/base/error.hpp"
#include "src/base/process_memory.hpp"
#include "src/base/units.hpp"
#include "src/job/rates.hpp"
#include "src/parallel/placement.hpp"
#include "src/plan/collectives.hpp"
#include "src/plan/device_messages.hpp"
#include "src/plan/fabric_links.hpp"
#include "src/plan/fallback.hpp"
#include "src/plan/memory.hpp"
#include "src/plan/ranking.hpp"
#include "src/plan/recompute.hpp"
#include "src/plan/report.hpp"
#include "src/plan/search.hpp"

namespace banyan::app {
namespace {

constexpr std::string_view kUsage =
    R"(banyan plan CONFIG [--ranks N | --nodes N] [--machine FILE] [--topology FILE] [--search] [--explain] [--json] [--precision fp32|bf16]
            [--gflops X] [--link SIZE] [--memory SIZE] [--per-node N] [--section.key=value ...]

Prints what `banyan train CONFIG` on N ranks will do: mesh, pipeline stages, schedule, memory of a rank of each stage, and
a prediction of the step's time and of the plans of collectives.  Starts nothing and needs no MPI.

With --search, --nodes, --explain or --json it ranks instead every layout of N ranks (tensor x context x pipeline x data,
microbatch, schedule, ZeRO, recomputation, sequence parallelism) by predicted step time, with memory, bubble, traffic
by axis, use of the peak (MFU; HFU counts recomputation) and time to finish, and says why others are out.  Layouts that
this program cannot run are priced too and say what is missing.

  --ranks N       ranks of the job (default 1)
  --nodes N       nodes of the machine instead
  --machine FILE  what the machine is, see configs/machines/README.md; without it: a rate, and links as usual
  --topology FILE the network, as `banyan topo` reads it, in place of the machine's; without --ranks and --nodes all its
                  hosts take part
  --precision P   arithmetic to price, fp32 or bf16, in place of run.precision
  --explain       every term of the best layout's price, and of the best that runs, with formula and numbers
  --json          the whole ranking as one line of JSON
  --gflops X      GFLOP/s that matrix products reach on one rank; measured on this machine when left out
  --link SIZE     bytes a second that a message between two ranks reaches (default 5GB)
  --per-node N    ranks of one node (default: all of them), for the plans of collectives
  --memory SIZE   memory of one rank, for example 16GiB; a plan that needs more is refused with exit code 78

model.vocab = 0 needs the token files of data.train to be there.
)";

/// FLOP/s of a matrix product of the model's own shape.
double measured_flops(const config::Config& config, DType dtype, const model::ModelShape& model) {
  const std::unique_ptr<kernels::Backend> backend =
      kernels::make_cpu_backend({.threads = static_cast<int>(config.run.threads), .max_isa = ""});
  const std::int64_t rows = std::min<std::int64_t>(512, config.parallel.microbatch * model.context);
  const std::int64_t in = std::min<std::int64_t>(2048, model.width);
  const std::int64_t out = std::min<std::int64_t>(2048, std::max<std::int64_t>(1, model.ffn / config.parallel.tensor));
  return job::product_rate(*backend, dtype, rows, out, in);
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

/// A size, or nothing when the option is absent.
std::optional<std::int64_t> size_of(Args& args, const char* name, const char* example) {
  const std::optional<std::string> text = args.value(name);
  if (!text) return std::nullopt;
  const std::optional<std::int64_t> size = parse_bytes(*text);
  if (!size || *size < 1) throw UsageError("--{}={} is refused; write a size such as {}", name, *text, example);
  return size;
}

ExitCode rank(const config::Config& config, int ranks, std::int64_t vocab, const plan::Machine& machine,
              const plan::SearchOptions& options, bool explained, bool json) {
  const plan::SearchResult result = plan::search_divisions(config, ranks, vocab, machine, options);
  if (json) fmt::print("{}\n", plan::ranking_json(result));
  if (result.candidates.empty())
    throw ConfigError("no layout of {} ranks works{}; use more ranks{}", ranks,
                      result.too_large > 0 ? " within the memory of a rank" : "",
                      result.rejections.empty() ? "" : " (for example: " + result.rejections.back().reason + ")");
  if (json) return ExitCode::kFinished;
  fmt::print("{}", plan::ranking_table(result, 12));
  if (!explained) return ExitCode::kFinished;
  const plan::Candidate& best = result.candidates.front();
  fmt::print("\nthe fastest: {}", plan::explain(result, best));
  const auto runs = std::find_if(result.candidates.begin(), result.candidates.end(),
                                 [](const plan::Candidate& c) { return c.runnable; });
  if (!best.runnable && runs != result.candidates.end())
    fmt::print("\nthe fastest that runs: {}", plan::explain(result, *runs));
  return ExitCode::kFinished;
}

ExitCode run(Args& args) {
  const config::Config config = load_command_config(args).config;
  const std::optional<std::string> machine_file = args.value("machine");
  const std::optional<std::string> ranks_text = args.value("ranks");
  auto nodes = static_cast<int>(args.integer("nodes", 0, 1, 1 << 20));
  auto ranks = static_cast<int>(args.integer("ranks", 1, 1, 1 << 24));
  const double gflops = args.real("gflops", 0);
  const std::optional<std::int64_t> memory = size_of(args, "memory", "16GiB"), link = size_of(args, "link", "5GB");
  const std::string precision = args.value("precision").value_or(config.run.precision);
  const bool search = args.flag("search"), explained = args.flag("explain"), json = args.flag("json");
  if (precision != "fp32" && precision != "bf16")
    throw UsageError("--precision={} is refused; write fp32 or bf16", precision);
  if (gflops < 0) throw UsageError("--gflops={} is refused; it is a speed", gflops);

  plan::Machine machine;
  if (machine_file) {
    if (gflops > 0 || link) throw UsageError("--machine says what --gflops and --link say; leave one of them out");
    machine = plan::load_machine(*machine_file);
  }
  const std::optional<std::string> network = args.value("topology");
  if (network) {
    if (!machine_file) throw UsageError("--topology needs --machine, which says what hangs from the network's hosts");
    const comm::Fabric fabric = comm::read_fabric(comm::read_fabric_text(*network), *network);
    plan::use_fabric(machine, fabric);
    if (!ranks_text && nodes == 0) nodes = static_cast<int>(fabric.hosts.size());
    if (nodes > static_cast<int>(fabric.hosts.size()))
      throw UsageError("--nodes={} are more than the {} hosts of {}", nodes, fabric.hosts.size(), *network);
  }
  if (nodes > 0) {
    if (ranks_text) throw UsageError("--nodes and --ranks say the same; leave one of them out");
    if (!machine_file) throw UsageError("--nodes needs --machine, which says how many ranks a node has");
    const std::int64_t all = std::int64_t{nodes} * machine.ranks_per_node;
    if (all > 1 << 24) throw UsageError("--nodes={} would be {} ranks; use at most {}", nodes, all, 1 << 24);
    ranks = static_cast<int>(all);
  }
  const auto per_node = static_cast<int>(
      args.integer("per-node", machine_file ? std::min(ranks, machine.ranks_per_node) : ranks, 1, 1 << 24));
  args.finish(1, 1, kUsage);

  const std::int64_t vocab = dataset_vocab(config);
  if (!machine_file) {
    const DType dtype = precision == "fp32" ? DType::kF32 : DType::kBF16;
    (precision == "fp32" ? machine.fp32 : machine.bf16) =
        gflops > 0 ? gflops * 1e9 : measured_flops(config, dtype, plan::make_model_shape(config, vocab));
    if (link) machine.links.front().rate = static_cast<double>(*link);
  }
  if (ranks > 1) plan::carry(machine, plan::device_carrier(config));
  const plan::Precision priced = precision == "fp32" ? plan::Precision::kFp32 : plan::Precision::kBf16;
  if (machine.peak(priced) <= 0)
    throw ConfigError("the machine {} says nothing about {}; add compute.{} to its file", machine.name, precision,
                      precision);
  if (search || nodes > 0 || explained || json || precision != config.run.precision) {
    const plan::SearchOptions options{.precision = priced, .memory = static_cast<double>(memory.value_or(0))};
    return rank(config, ranks, vocab, machine, options, explained, json);
  }
  const bool gpu = config.run.backend == "cuda";
  plan::FittedConfig fitted = plan::fit_mesh(config, ranks);
  if (!fitted.note.empty()) fmt::print("{}\n", fitted.note);
  if (fitted.config.train.recompute == "auto") {
    if (!memory && gpu)
      throw ConfigError(
          "train.recompute = auto depends on the memory of the GPU; say it with --memory, for example 80GiB");
    const std::int64_t room = memory ? *memory : machine_memory() / per_node;
    const plan::RecomputeChoice choice = plan::choose_recompute(fitted.config, ranks, vocab, room);
    fmt::print("train.recompute = auto, with {} for a rank, is {}\n", format_bytes(static_cast<double>(room)),
               choice.str());
    fitted.config.train.recompute = choice.recompute;
  }
  const plan::Layout layout = plan::make_layout(fitted.config, ranks, vocab);
  fmt::print("{}", plan::report(layout, fitted.config, machine));
  fmt::print("{}", collectives(fitted.config, layout, ranks, per_node, link ? &*link : nullptr));

  const std::int64_t needed = plan::largest_rank(layout, fitted.config);
  if (!gpu) {
    const std::int64_t here = machine_memory();
    fmt::print("\nthis machine has {}, room for {} such rank{}\n", format_bytes(static_cast<double>(here)),
               here / needed, here / needed == 1 ? "" : "s");
  }
  std::fflush(stdout);
  if (memory && needed > *memory)
    throw ConfigError(
        "a rank needs {}{}, but --memory = {}; raise parallel.tensor or parallel.pipeline, set parallel.zero = 1 or "
        "train.recompute = cheap or block, or lower parallel.microbatch",
        format_bytes(static_cast<double>(needed)), gpu ? " of its GPU" : "", exact_bytes(*memory));
  return ExitCode::kFinished;
}

}  // namespace

Command plan_command() {
  return {.name = "plan",
          .summary = "print mesh, stages, schedule, memory and predicted time of a job",
          .usage = kUsage,
          .options_with_value = {"ranks", "nodes", "machine", "topology", "precision", "gflops", "link", "memory",
                                 "per-node"},
          .run = run,
          .takes_config = true};
}

}  // namespace banyan::app
