#include "src/plan/fabric_links.hpp"

#include <algorithm>
#include <vector>

#include "src/base/error.hpp"

namespace banyan::plan {
namespace {

struct Level {
  std::vector<double> hosts;  ///< below each switch of the level
  double least = 0;  ///< bytes/s upwards for each host, of the worst way into a switch of the level; 0: unknown
};

void note_rate(Level& level, double rate) {
  if (rate > 0) level.least = level.least > 0 ? std::min(level.least, rate) : rate;
}

}  // namespace

void use_fabric(Machine& machine, const comm::Fabric& fabric) {
  if (fabric.switches.empty())
    throw ConfigError("the network of {} has no switches; leave --topology out for a single node", fabric.source);
  std::vector<double> below(fabric.switches.size(), 0);
  for (const std::vector<int>& way : comm::ways_up(fabric))
    for (int s : way) ++below[static_cast<std::size_t>(s)];

  int top = 1;
  for (const comm::Switch& s : fabric.switches) top = std::max(top, s.level);
  std::vector<Level> levels(static_cast<std::size_t>(top));
  for (std::size_t s = 0; s < fabric.switches.size(); ++s) {
    if (below[s] <= 0 || fabric.switches[s].level < 1) continue;
    levels[static_cast<std::size_t>(fabric.switches[s].level - 1)].hosts.push_back(below[s]);
  }
  for (const comm::Link& link : fabric.links) {
    const int level = fabric.switches[static_cast<std::size_t>(link.upper)].level;
    const double hosts = link.below == comm::Link::Below::kHost ? 1 : below[static_cast<std::size_t>(link.lower)];
    if (level > 0 && hosts > 0) note_rate(levels[static_cast<std::size_t>(level - 1)], link.rate / hosts);
  }

  const double node = std::max(1, machine.ranks_per_node);
  comm::TreeLinks links{machine.links.front()};
  links.front().ranks = node;
  for (std::size_t l = 0; l < levels.size(); ++l) {
    std::vector<double>& hosts = levels[l].hosts;
    if (hosts.empty()) continue;
    std::nth_element(hosts.begin(), hosts.begin() + static_cast<std::ptrdiff_t>(hosts.size() / 2), hosts.end());
    comm::TreeLevel level = machine.links[std::min(l + 1, machine.links.size() - 1)];
    level.ranks = node * hosts[hosts.size() / 2];
    if (levels[l].least > 0) level.rate = levels[l].least / node * machine.wire_efficiency;
    if (level.ranks > links.back().ranks) links.push_back(level);
  }
  links.back().ranks = 0;
  machine.links = std::move(links);
  machine.name += " on " + fabric.source;
}

}  // namespace banyan::plan
