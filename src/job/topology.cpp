#include "src/job/topology.hpp"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "comm/topology/contact.hpp"
#include "comm/topology/host_list.hpp"
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
/// Of differences that are told, in each direction.
constexpr std::size_t kLines = 4;

class Finder {
 public:
  Finder(comm::World& world, comm::Communicator& everyone)
      : world_(world), everyone_(everyone), hosts_(comm::hosts_of(world)) {}

  comm::Fabric named(const std::string& source) {
    if (source == "slurm") return comm::fabric_of_addresses(addresses());
    if (source == "scontrol") return from_program({"scontrol", "show", "topology"}, "slurm");
    if (source == "ib") return from_infiniband();
    if (source == "probe") return from_probing();
    return comm::read_fabric(read_for_all(everyone_, source, "topology.source"), source);
  }

  std::optional<comm::Fabric> best() {
    const std::vector<comm::SlurmAddress> told = addresses();
    if (knows_no_switches(told)) return std::nullopt;
    const auto env = from_tasks(told, true);
    // Where tasks are told nothing, the controller may know more.
    const auto asked = from_controller(true);
    if (!env || !asked) return env ? env : asked;
    compare(*env, *asked);
    return env;
  }

  /// Holds what `source` told against what Slurm says, if it says anything: its tasks, or else its controller.
  void cross_check(const comm::Fabric& fabric, const std::string& source) {
    const std::vector<comm::SlurmAddress> told = addresses();
    std::optional<comm::Fabric> other;
    if (source != "slurm") other = from_tasks(told, false);
    if (!other && source != "scontrol" && !knows_no_switches(told)) other = from_controller(false);
    if (other) compare(fabric, *other);
  }

  comm::GroupTree tree(const comm::Fabric& fabric) const { return comm::tree_of(fabric, hosts_); }

 private:
  static constexpr const char* kWhat = "what is known of the network";

  void warn(const std::string& text) const {
    if (world_.rank() == 0) log::warning("{}", text);
  }

  static bool names_a_switch(const std::vector<comm::SlurmAddress>& told) {
    return std::any_of(told.begin(), told.end(),
                       [](const auto& a) { return !comm::switches_of_address(a.address, a.pattern).empty(); });
  }
  /// A host alone ("n7") is Slurm's word for that; tasks that are told nothing at all are no word.
  static bool knows_no_switches(const std::vector<comm::SlurmAddress>& told) {
    return !names_a_switch(told) &&
           std::any_of(told.begin(), told.end(), [](const auto& a) { return !a.address.empty(); });
  }

  std::optional<comm::Fabric> from_tasks(const std::vector<comm::SlurmAddress>& told, bool warns) const {
    if (!names_a_switch(told)) return std::nullopt;
    return usable("SLURM_TOPOLOGY_ADDR", warns, [&] { return comm::fabric_of_addresses(told); });
  }
  /// Without Slurm there is nobody to ask.
  std::optional<comm::Fabric> from_controller(bool warns) {
    const std::string in_slurm = comm::broadcast_string(everyone_, std::getenv("SLURM_JOB_ID") ? "y" : "", 0, kWhat);
    if (in_slurm.empty()) return std::nullopt;
    return usable("scontrol show topology", warns, [&] {
      return from_program({"scontrol", "show", "topology"}, "slurm");
    });
  }

  /// The hosts of the job that hang from one switch, for every switch.
  std::set<std::vector<std::string>> neighbours(const comm::Fabric& fabric) const {
    std::set<std::vector<std::string>> all;
    const comm::GroupTree places = tree(fabric);
    for (std::size_t level = 1; level < places.levels.size(); ++level) {
      std::map<int, std::set<std::string>> below;
      for (std::size_t r = 0; r < hosts_.size(); ++r) below[places.levels[level][r]].insert(hosts_[r]);
      for (const auto& [place, names] : below) all.emplace(names.begin(), names.end());
    }
    return all;
  }

  /// What either knows of hosts that are not of the job is no contradiction.
  void compare(const comm::Fabric& believed, const comm::Fabric& other) const {
    const auto here = neighbours(believed), there = neighbours(other);
    if (here == there) return;
    const auto name = [](const comm::Fabric& f) {
      return f.source == "SLURM_TOPOLOGY_ADDR" ? f.source : "`" + f.source + "`";
    };
    warn(fmt::format(
        "{} and {} disagree; the former is believed, but one of them is out of date: topology.source = probe measures "
        "who is right",
        name(believed), name(other)));
    const auto only = [&](const auto& these, const auto& those, const comm::Fabric& from, const comm::Fabric& in) {
      std::size_t lines = 0;
      for (const std::vector<std::string>& names : these)
        if (!those.count(names) && lines++ < kLines)
          warn(fmt::format("  {} has {} below one switch, {} has not", from.source, comm::fold_host_list(names),
                           in.source));
    };
    only(here, there, believed, other);
    only(there, here, other, believed);
  }

  /// All ranks come to the same answer, an error too: what it is made from is the same everywhere.
  template <class Make>
  std::optional<comm::Fabric> usable(const char* name, bool warns, Make&& make) const {
    try {
      comm::Fabric fabric = make();
      tree(fabric);
      return fabric;
    } catch (const CommError&) {
      throw;
    } catch (const Error& e) {
      if (warns) warn(fmt::format("{} is of no use here: {}", name, e.what()));
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
  std::string told_by(const std::vector<std::string>& words) {
    std::string said;
    if (world_.rank() == 0) {
      std::string why;
      const auto text = program_output(words, kProgramDeadline, kLargestOutput, why);
      said = text ? "+" + *text : "-" + why;
    }
    // The others wait while rank 0 waits for the program.
    const comm::PatienceScope patience(kProgramDeadline + Seconds{5});
    return comm::broadcast_string(everyone_, said, 0, kWhat);
  }
  comm::Fabric from_program(const std::vector<std::string>& words, const std::string& format) {
    const std::string said = told_by(words);
    if (said[0] == '-') throw ConfigError("{}; topology.source may name another source", said.substr(1));
    std::string command = words[0];
    for (std::size_t i = 1; i < words.size(); ++i) command += " " + words[i];
    return comm::read_fabric(std::string_view(said).substr(1), command, format);
  }

  /// With the routes, where the program that prints them has something to say; without them cables are taken to share
  /// evenly.
  comm::Fabric from_infiniband() {
    const std::string found = told_by({"ibnetdiscover"});
    if (found[0] == '-') throw ConfigError("{}; topology.source may name another source", found.substr(1));
    const auto text = std::string_view(found).substr(1);
    const std::string routes = told_by({"dump_fts"});
    std::string why = routes.substr(1);
    if (routes[0] == '+') try {
        return comm::read_fabric(text, "ibnetdiscover", "ib",
                                 {.routes = std::string_view(routes).substr(1), .routes_file = "dump_fts"});
      } catch (const DataError& e) {
        why = e.what();
      }
    comm::Fabric fabric = comm::read_fabric(text, "ibnetdiscover", "ib");
    fabric.notes.push_back(fmt::format("routes are not known and taken to be even: {}", why));
    return fabric;
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
      if (source != "auto") finder.cross_check(*fabric, source);
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
