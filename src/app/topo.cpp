// banyan topo: the fabric that a file describes, or that the ranks of a job find, as a tree, a picture, JSON or in
// Banyan's own format.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "comm/topology/contact.hpp"
#include "comm/topology/fabric_file.hpp"
#include "comm/topology/fabric_text.hpp"
#include "comm/topology/infiniband_routes.hpp"
#include "comm/topology/look_inside.hpp"
#include "comm/topology/read_fabric.hpp"
#include "io/atomic_file.hpp"
#include "src/app/command.hpp"
#include "src/app/planned_step.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "src/config/load.hpp"
#include "src/job/run_job.hpp"

namespace banyan::app {
namespace {

constexpr std::string_view kUsage =
    R"(banyan topo FILE [--format FORMAT] [--errors FILE] [--routes FILE] [--against FILE] [--write FILE] [--svg FILE]
            [--json] [--step CONFIG [--per-node N] [--section.key=value ...]]
mpirun ... banyan topo --job CONFIG [--against FILE] [--write FILE] [--svg FILE] [--json] [--section.key=value ...]

Shows the network of a cluster as FILE describes it: which hosts hang from which switch, what each way carries, how much
less goes up than comes from below (the taper), ways that are degraded.  Needs no MPI and no cluster.  With --job, on all
ranks of a job under mpirun or srun, shows the network as these find it (topology.source of CONFIG), which ranks sit
where, and what is inside the hosts: NUMA nodes, cores, GPUs and network adapters, how far these are from each other, to
which CPUs ranks are bound, and what is wrong with that.  Where these ranks can train CONFIG, also what a step puts on
each way, as --step.

  FILE            topology.conf or topology.yaml of Slurm, what `scontrol show topology` or `ibnetdiscover` prints, or
                  Banyan's own format; - reads the standard input: scontrol show topology | banyan topo -
  --job CONFIG    finds the network as a job of that config would; --topology.source=probe measures it
  --format F      auto (looks at the first line, the default), slurm, yaml, ib or fabric; yaml:NAME takes that one
                  of the topologies in a topology.yaml, instead of the cluster's default
  --errors FILE   what `ibqueryerrors` prints: a cable with symbol errors, recoveries, downs or receive errors
                  beyond its thresholds counts with half its rate
  --routes FILE   what `dump_fts` prints, or opensm-lfts.dump: a way counts with what its busiest cable lets through
                  when all hosts send alike to all others; up to 2 GiB: sed 's/ [:#].*//' takes out the names
  --against FILE  a second description: prints where the two disagree, and exits with 65 when they do
  --write FILE    writes the fabric in Banyan's own format
  --svg FILE      draws it
  --step CONFIG   plans the job of CONFIG on the hosts of FILE and shows its placement, what a step of it puts on each
                  way, which way the step waits for, and which parts of the mesh sit below which leaf
  --per-node N    ranks of that job on each host (default 1)
  --json          prints JSON instead of the tree

Banyan's own format has a line for each switch and for each kind of way up to it:
  switch NAME [hosts=LIST] [switches=LIST] [cables=N] [rate=SIZE] [reason=WORD] [routes=in_turn]
LIST is n[1-4,7],login; rate is what all cables of one way carry in one direction, a second: rate=12.5GB.
routes=in_turn: what goes to the n-th host always takes cable n mod cables; else cables share evenly.
)";

struct Wishes {
  std::string format = "auto";
  std::optional<std::string> errors, routes, against, write, svg;
  bool json = false;
};

comm::Fabric read(const std::string& file, const std::string& format, const std::optional<std::string>& errors = {},
                  const std::optional<std::string>& routes = {}) {
  const std::string faults_text = errors ? comm::read_fabric_text(*errors) : "";
  const std::string routes_text = routes ? comm::read_fabric_text(*routes, comm::kLargestRoutes) : "";
  return comm::read_fabric(comm::read_fabric_text(file), file == "-" ? "standard input" : file, format,
                           {.faults = faults_text,
                            .routes = routes_text,
                            .faults_file = errors.value_or(""),
                            .routes_file = routes.value_or("")});
}

/// Prints, draws, writes and compares.  `more` follows the tree, or is put into the JSON.
void show(const comm::Fabric& fabric, const Wishes& wishes, const std::optional<PlannedStep>& planned,
          const std::string& more = {}, const Json& more_json = {}) {
  const comm::Marks marks = planned ? plan::marks_of(planned->step, fabric) : comm::Marks{};
  if (wishes.json) {
    Json json = comm::to_json(fabric);
    if (more_json.is_object()) json.update(more_json);
    if (planned) json["step"] = plan::to_json(planned->step, fabric);
    fmt::print("{}\n", json.dump(1));
  } else {
    fmt::print("{}{}{}", comm::draw(fabric, marks),
               planned ? '\n' + plan::report(planned->step, planned->mesh, fabric) : "", more);
  }
  if (wishes.write) io::write_atomic(*wishes.write, comm::write_fabric_file(fabric));
  if (wishes.svg) io::write_atomic(*wishes.svg, comm::draw_svg(fabric, marks));
  if (!wishes.against) return;
  const comm::Fabric other = read(*wishes.against, wishes.format);
  if (comm::same_shape(fabric, other)) {
    if (!wishes.json) fmt::print("{} says the same\n", other.source);
    return;
  }
  throw DataError("{} and {} disagree; one of them is out of date:\n  {}", fabric.source, other.source,
                  fmt::join(comm::differences(fabric, other), "\n  "));
}

std::string ranks_on_hosts(const comm::World& world) {
  std::string text = "\n";
  for (int speaker : comm::node_speakers(world)) {
    std::vector<int> ranks;
    for (int r = speaker; r < world.size(); ++r)
      if (world.node(r) == world.node(speaker)) ranks.push_back(r);
    text += fmt::format("{}: leaf {}, rank {}\n", world.host(speaker), world.leaf(speaker), fmt::join(ranks, " "));
  }
  return text;
}

ExitCode run_in_job(const std::string& config, const std::vector<std::string>& overrides, const Wishes& wishes) {
  return job::run_job({.command = "topo", .config_path = config, .overrides = overrides}, [&](job::Job& job) {
    const auto hosts = comm::look_inside_all(job.world, *job.everyone);
    std::string why;
    std::optional<PlannedStep> planned;
    if (job.network) planned = planned_step(job, why);
    if (!job.root()) return ExitCode::kFinished;
    const auto kinds = comm::kinds_of(hosts, hosts.size() > 1);
    const std::string more = ranks_on_hosts(job.world) + '\n' + comm::draw(kinds);
    const Json inside{{"inside", comm::to_json(kinds)}};
    if (job.network) {
      if (!why.empty() && !wishes.json) fmt::print("no step is planned: {}\n", why);
      show(*job.network, wishes, planned, more, inside);
      return ExitCode::kFinished;
    }
    const std::string unknown = fmt::format(
        "topology.source = {}: nobody tells which hosts hang from which switch; ask for probe, or name a file",
        job.config.topology.source);
    if (wishes.against || wishes.write || wishes.svg) throw ConfigError("{}", unknown);
    fmt::print("{}\n", wishes.json ? inside.dump(1) : unknown + '\n' + more);
    return ExitCode::kFinished;
  });
}

ExitCode run(Args& args) {
  Wishes wishes;
  const auto format = args.value("format"), config = args.value("job");
  if (format) wishes.format = *format;
  wishes.errors = args.value("errors");
  wishes.routes = args.value("routes");
  wishes.against = args.value("against");
  wishes.write = args.value("write");
  wishes.svg = args.value("svg");
  wishes.json = args.flag("json");
  if (config) {
    const std::vector<std::string> overrides = args.overrides();
    args.finish(0, 0, kUsage);
    if (wishes.errors || wishes.routes)
      throw UsageError("--errors and --routes go with a FILE of ibnetdiscover, not with --job");
    return run_in_job(*config, overrides, wishes);
  }
  const auto step = args.value("step");
  const auto per_node = static_cast<int>(args.integer("per-node", 1, 1, 1 << 16));
  const std::vector<std::string> overrides = args.overrides();
  args.finish(1, 1, kUsage);
  if (!step && args.value("per-node")) throw UsageError("--per-node goes with --step CONFIG");
  if (!step && !overrides.empty()) throw UsageError("{} goes with --step CONFIG or --job CONFIG", overrides.front());
  const comm::Fabric fabric = read(args.positional()[0], wishes.format, wishes.errors, wishes.routes);
  std::optional<PlannedStep> planned;
  if (step) planned = planned_step(fabric, config::load(*step, overrides).config, per_node);
  show(fabric, wishes, planned);
  return ExitCode::kFinished;
}

}  // namespace

Command topo_command() {
  return {.name = "topo",
          .summary = "the network of a cluster: which hosts hang from which switch",
          .usage = kUsage,
          .options_with_value = {"format", "against", "write", "svg", "job", "errors", "routes", "step", "per-node"},
          .run = run};
}

}  // namespace banyan::app
