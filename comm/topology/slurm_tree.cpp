#include "comm/topology/slurm_tree.hpp"

#include <fmt/format.h>

#include <utility>

namespace banyan::comm {

void SlurmTree::add(std::string_view name, std::string_view host_list, std::string_view switch_list, int line) {
  const int s = builder_.define_switch(name, line);
  auto hosts = builder_.expand(host_list, line);
  auto switches = builder_.expand(switch_list, line);
  if (hosts.empty() && switches.empty()) builder_.fail(line, fmt::format("{} has neither Nodes nor Switches", name));
  if (!switches.empty()) {
    uppers_.push_back({s, line, std::move(switches), std::move(hosts)});
    return;
  }
  for (const std::string& host : hosts) builder_.link_host(host, {.upper = s}, line);
}

Fabric SlurmTree::finish() {
  for (const Upper& u : uppers_)
    for (const std::string& name : u.switches)
      builder_.link({.below = Link::Below::kSwitch, .lower = builder_.any_switch(name, u.line), .upper = u.number});
  for (const Upper& u : uppers_)
    for (const std::string& name : u.hosts)
      if (const int h = builder_.host(name); !builder_.has_above(h)) builder_.link({.lower = h, .upper = u.number});
  return builder_.finish();
}

}  // namespace banyan::comm
