// banyan topo FILE: the fabric that a file describes, as a tree, a picture, JSON or in Banyan's own format.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>

#include "comm/topology/fabric_file.hpp"
#include "comm/topology/fabric_text.hpp"
#include "comm/topology/read_fabric.hpp"
#include "io/atomic_file.hpp"
#include "src/app/command.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"

namespace banyan::app {
namespace {

constexpr std::string_view kUsage =
    R"(banyan topo FILE [--format FORMAT] [--against FILE] [--write FILE] [--svg FILE] [--json]

Shows the network of a cluster as FILE describes it: which hosts hang from which switch, what each way carries, how much
less goes up than comes from below (the taper), ways that are degraded.  Needs no MPI and no cluster.

  FILE            topology.conf of Slurm, what `scontrol show topology` prints, or Banyan's own format; - reads the
                  standard input: scontrol show topology | banyan topo -
  --format F      auto (looks at the first line, the default), slurm or fabric
  --against FILE  a second description: prints where the two disagree, and exits with 65 when they do
  --write FILE    writes the fabric in Banyan's own format
  --svg FILE      draws it
  --json          prints JSON instead of the tree

Banyan's own format has a line for each switch and for each kind of way up to it:
  switch NAME [hosts=LIST] [switches=LIST] [cables=N] [rate=SIZE] [reason=WORD]
LIST is n[1-4,7],login; rate is what all cables of one way carry in one direction, a second: rate=12.5GB.
)";

ExitCode run(Args& args) {
  const auto format = args.value("format"), against = args.value("against"), write = args.value("write"),
             svg = args.value("svg");
  const bool json = args.flag("json");
  args.finish(1, 1, kUsage);
  const auto read = [&](const std::string& file) {
    return comm::read_fabric(comm::read_fabric_text(file), file == "-" ? "standard input" : file,
                             format.value_or("auto"));
  };
  const comm::Fabric fabric = read(args.positional()[0]);
  if (json)
    fmt::print("{}\n", comm::to_json(fabric).dump(1));
  else
    fmt::print("{}", comm::draw(fabric));
  if (write) io::write_atomic(*write, comm::write_fabric_file(fabric));
  if (svg) io::write_atomic(*svg, comm::draw_svg(fabric));
  if (!against) return ExitCode::kFinished;
  const comm::Fabric other = read(*against);
  if (comm::same_shape(fabric, other)) {
    if (!json) fmt::print("{} says the same\n", other.source);
    return ExitCode::kFinished;
  }
  throw DataError("{} and {} disagree; one of them is out of date:\n  {}", fabric.source, other.source,
                  fmt::join(comm::differences(fabric, other), "\n  "));
}

}  // namespace

Command topo_command() {
  return {.name = "topo",
          .summary = "the network of a cluster: which hosts hang from which switch",
          .usage = kUsage,
          .options_with_value = {"format", "against", "write", "svg"},
          .run = run};
}

}  // namespace banyan::app
