// banyan-referee: prices anew what banyan-sim played before, without playing it again, for those who change the price.
#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "comm/topology/read_fabric.hpp"
#include "sim/links.hpp"
#include "sim/verdict.hpp"
#include "src/app/args.hpp"
#include "src/base/json.hpp"
#include "src/config/load.hpp"
#include "src/plan/cost.hpp"
#include "src/plan/step_on_network.hpp"

namespace banyan::sim {
namespace {

constexpr std::string_view kUsage = R"(banyan-referee CONFIG HOSTS RECORD [--json=FILE] [--section.key=value ...]

Holds what a RECORD (JSON of banyan-sim) says was played against what is predicted now. HOSTS has the host of each rank,
a line each; CONFIG and what follows are those of the record. scripts/simulate.sh --again RECORD starts it.
)";

void run(const std::vector<std::string>& words) {
  app::Args args(words, {});
  const auto out = args.value("json");
  const std::vector<std::string> overrides = args.overrides();
  args.finish(3, 3, kUsage);
  const config::Config config = config::load(args.positional()[0], overrides).config;
  std::vector<std::string> hosts;
  std::ifstream lines(args.positional()[1]);
  for (std::string line; std::getline(lines, line);) hosts.push_back(line);
  if (hosts.empty()) throw IoError("{} names no hosts", args.positional()[1]);

  const plan::Layout layout = plan::make_layout(config, static_cast<int>(hosts.size()), config.model.vocab);
  const comm::Fabric network =
      comm::read_fabric(comm::read_fabric_text(config.topology.source), config.topology.source);
  const parallel::Fabric fabric = plan::fabric_on(network, hosts);
  const plan::Machine machine = plan::load_machine(config.run.machine);
  plan::PlacementQuestion question(layout, fabric, links_of(machine));
  question.computing = plan::computing_of(layout, machine);

  const std::string& file = args.positional()[2];
  Record record = read_record(comm::read_fabric_text(file), file, layout.mesh.size(), fabric.size());
  for (Trial& t : record.trials) t.price = question.price(std::move(t.price.process_of), std::move(t.price.name));
  fmt::print("{}", verdict_table(record.trials, record.idle));
  if (!out) return;
  std::ofstream json(*out);
  if (!(json << to_json(record.trials, record.idle).dump() << '\n').flush())
    throw IoError("{} cannot be written", *out);
}

}  // namespace
}  // namespace banyan::sim

int main(int argc, char** argv) {
  using namespace banyan;
  try {
    sim::run(std::vector<std::string>(argv + 1, argv + argc));
    return 0;
  } catch (const Error& e) {
    fmt::print(stderr, "banyan-referee: {}\n", e.what());
    return static_cast<int>(e.code());
  } catch (const std::exception& e) {
    fmt::print(stderr, "banyan-referee: {}\n", e.what());
    return static_cast<int>(ExitCode::kBug);
  }
}
