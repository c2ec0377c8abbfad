#include "src/job/topology.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "comm/topology/contact.hpp"
#include "comm/topology/probe.hpp"
#include "comm/topology/read_fabric.hpp"
#include "comm/topology/slurm_topology.hpp"
#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/base/program_output.hpp"
#include "src/job/root_file.hpp"
#include "src/plan/step_on_network.hpp"

namespace banyan::job {
namespace {

constexpr Seconds kProgramDeadline{60};
constexpr std::size_t kLargestOutput = 64 << 20;

class Finder {
 public:
  Finder(comm::World& world, comm::Communicator& everyone)
      : world_(world), everyone_(everyone), hosts_(comm::hosts_of(world)) {}

  comm::Fabric named(const std::string& source) {
    if (source == "slurm") return comm::fabric_of_addresses(addresses());
    if (source == "scontrol") return from_program({"scontrol", "show", "topology"}, "slurm");
    if (source == "ib") return from_program({"ibnetdiscover"}, "ib");
    if (source == "probe") return from_probing();
    return comm::read_fabric(read_for_all(everyone_, source, "topology.source"), source);
  }

  std::optional<comm::Fabric> best() {
    const std::vector<comm::SlurmAddress> told = addresses();
    bool any = false, silent = true;
    for (const auto& a : told) {
      any = any || !comm::switches_of_address(a.address, a.pattern).empty();
      silent = silent && a.address.empty();
    }
    // A host alone ("n7") is Slurm's word for that it knows of no switches.
    if (!any && !silent) return std::nullopt;
    const auto env =
        any ? usable("SLURM_TOPOLOGY_ADDR", [&] { return comm::fabric_of_addresses(told); }) : std::nullopt;
    // Without Slurm there is nobody to ask; where tasks are told nothing, the controller may know more.
    const std::string in_slurm = comm::broadcast_string(everyone_, std::getenv("SLURM_JOB_ID") ? "y" : "", 0, kWhat);
    if (in_slurm.empty()) return env;
    const auto asked = usable("scontrol show topology", [&] {
      return from_program({"scontrol", "show", "topology"}, "slurm");
    });
    if (!env || !asked) return env ? env : asked;
    const std::vector<std::string> unlike = comm::differences(*env, *asked);
    if (!unlike.empty()) {
      warn(fmt::format(
          "SLURM_TOPOLOGY_ADDR and `scontrol show topology` disagree; the former is believed, but one of them "
          "is out of date: topology.source = probe measures who is right"));
      for (const std::string& line : unlike) warn("  " + line);
    }
    return env;
  }

  comm::GroupTree tree(const comm::Fabric& fabric) const { return comm::tree_of(fabric, hosts_); }

 private:
  static constexpr const char* kWhat = "what is known of the network";

  void warn(const std::string& text) const {
    if (world_.rank() == 0) log::warning("{}", text);
  }

  /// All ranks come to the same answer, an error too: what it is made from is the same everywhere.
  template <class Make>
  std::optional<comm::Fabric> usable(const char* name, Make&& make) const {
    try {
      comm::Fabric fabric = make();
      tree(fabric);
      return fabric;
    } catch (const CommError&) {
      throw;
    } catch (const Error& e) {
      warn(fmt::format("{} is of no use here: {}", name, e.what()));
      return std::nullopt;
    }
  }

  std::vector<comm::SlurmAddress> addresses() {
    const auto env = [](const char* name) -> std::string {
      const char* value = std::getenv(name);
      return value ? value : "";
    };
    const std::vector<std::string> addresses = comm::all_gather_strings(everyone_, env("SLURM_TOPOLOGY_ADDR"), kWhat);
    const std::vector<std::string> patterns =
        comm::all_gather_strings(everyone_, env("SLURM_TOPOLOGY_ADDR_PATTERN"), kWhat);
    std::vector<comm::SlurmAddress> all;
    for (std::size_t r = 0; r < hosts_.size(); ++r) all.push_back({hosts_[r], addresses[r], patterns[r]});
    return all;
  }

  /// Rank 0 runs it and tells all: "+" and the text, or "-" and what is wrong.
  comm::Fabric from_program(const std::vector<std::string>& words, const std::string& format) {
    std::string said;
    if (world_.rank() == 0) {
      std::string why;
      const auto text = program_output(words, kProgramDeadline, kLargestOutput, why);
      said = text ? "+" + *text : "-" + why;
    }
    // The others wait while rank 0 waits for the program.
    const comm::PatienceScope patience(kProgramDeadline + Seconds{5});
    said = comm::broadcast_string(everyone_, said, 0, kWhat);
    if (said[0] == '-') throw ConfigError("{}; topology.source may name another source", said.substr(1));
    std::string command = words[0];
    for (std::size_t i = 1; i < words.size(); ++i) command += " " + words[i];
    return comm::read_fabric(std::string_view(said).substr(1), command, format);
  }

  comm::Fabric from_probing() {
    const std::vector<int> speakers = comm::node_speakers(world_);
    std::vector<std::string> names;
    for (int r : speakers) names.push_back(world_.host(r));
    return comm::probe(names, comm::measure_between(everyone_, speakers));
  }

  comm::World& world_;
  comm::Communicator& everyone_;
  const std::vector<std::string> hosts_;
};

}  // namespace

std::optional<comm::Fabric> learn_topology(comm::World& world, comm::Communicator& everyone,
                                           const config::Config& config) {
  const std::string& source = config.topology.source;
  std::vector<int> leaves(static_cast<std::size_t>(world.size()), 0);
  std::optional<comm::Fabric> fabric;
  if (source != "flat") {
    Finder finder(world, everyone);
    if (source == "auto")
      fabric = finder.best();
    else
      fabric = finder.named(source);
    if (fabric) {
      const comm::GroupTree tree = finder.tree(*fabric);
      if (tree.levels.size() > 1) leaves = tree.levels[1];
      if (world.rank() == 0)
        for (const std::string& note : fabric->notes) log::warning("{}: {}", fabric->source, note);
    }
  }
  world.set_leaves(leaves);
  return fabric;
}

parallel::Fabric fabric_of(const comm::World& world, const std::optional<comm::Fabric>& network, int ranks) {
  if (network) {
    std::vector<std::string> hosts = comm::hosts_of(world);
    hosts.resize(static_cast<std::size_t>(ranks));
    return plan::fabric_on(*network, hosts);
  }
  parallel::Fabric fabric;
  std::vector<int> on_node(static_cast<std::size_t>(world.size()), 0);
  for (int r = 0; r < ranks; ++r) {
    const int node = world.node(r);
    fabric.places.push_back({node, on_node[static_cast<std::size_t>(node)]++, world.leaf(r)});
  }
  return fabric;
}

}  // namespace banyan::job
