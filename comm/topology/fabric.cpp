#include "comm/topology/fabric.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "comm/topology/host_list.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

void check_names(const Fabric& f) {
  std::unordered_set<std::string_view> hosts, switches;
  for (const std::string& h : f.hosts)
    if (!hosts.insert(h).second) throw DataError("{}: host {} is there twice", f.source, h);
  for (const Switch& s : f.switches)
    if (!switches.insert(s.name).second) throw DataError("{}: switch {} is there twice", f.source, s.name);
}

/// Children of each switch, as the links list them.
struct Below {
  std::vector<std::vector<int>> hosts, switches;
  explicit Below(const Fabric& f) : hosts(f.switches.size()), switches(f.switches.size()) {
    for (const Link& l : f.links) (l.below == Link::Below::kHost ? hosts : switches)[at(l.upper)].push_back(l.lower);
  }
};

void check_links(const Fabric& f) {
  for (const Link& l : f.links) {
    const bool host = l.below == Link::Below::kHost;
    const std::size_t lowers = host ? f.hosts.size() : f.switches.size();
    if (l.lower < 0 || at(l.lower) >= lowers || l.upper < 0 || at(l.upper) >= f.switches.size())
      throw BugError("{}: a link between {} and {}", f.source, l.lower, l.upper);
    const std::string& name = host ? f.hosts[at(l.lower)] : f.switches[at(l.lower)].name;
    if (l.cables < 1 || l.rate < 0)
      throw DataError("{}: the link from {} to {} has {} cables and {} bytes/s; leave it out if it is broken", f.source,
                      name, f.switches[at(l.upper)].name, l.cables, l.rate);
  }
}

/// Levels from below; DataError when a switch is above itself.
void set_levels(Fabric& f, const UpLinks& up) {
  for (Switch& s : f.switches) s.level = 0;
  const auto raise = [&](int from, int level, const std::string& start) {
    for (int s = from; s >= 0; ++level) {
      if (level > kMostLevels)
        throw DataError("{}: there is no top above {}: its switches are above each other, or more than {} deep",
                        f.source, start, kMostLevels);
      if (f.switches[at(s)].level >= level) return;
      f.switches[at(s)].level = level;
      const int link = up.of_switch[at(s)];
      s = link < 0 ? -1 : f.links[at(link)].upper;
    }
  };
  for (std::size_t h = 0; h < f.hosts.size(); ++h)
    if (up.of_host[h] >= 0) raise(f.links[at(up.of_host[h])].upper, 1, f.hosts[h]);
  for (std::size_t s = 0; s < f.switches.size(); ++s)  // those without hosts below
    if (f.switches[s].level == 0) raise(static_cast<int>(s), 1, f.switches[s].name);
}

/// Hosts and switches in the order of a walk through the tree.
void sort_by_tree(Fabric& f, const UpLinks& up) {
  const Below below(f);
  std::vector<int> hosts, switches;
  const std::function<void(int)> walk = [&](int s) {
    switches.push_back(s);
    for (int h : below.hosts[at(s)]) hosts.push_back(h);
    for (int lower : below.switches[at(s)]) walk(lower);
  };
  for (std::size_t s = 0; s < f.switches.size(); ++s)
    if (up.of_switch[s] < 0) walk(static_cast<int>(s));
  for (std::size_t h = 0; h < f.hosts.size(); ++h)
    if (up.of_host[h] < 0) hosts.push_back(static_cast<int>(h));
  std::vector<int> new_host(f.hosts.size()), new_switch(f.switches.size());
  std::vector<std::string> host_names;
  std::vector<Switch> sorted;
  for (int h : hosts) {
    new_host[at(h)] = static_cast<int>(host_names.size());
    host_names.push_back(std::move(f.hosts[at(h)]));
  }
  for (int s : switches) {
    new_switch[at(s)] = static_cast<int>(sorted.size());
    sorted.push_back(std::move(f.switches[at(s)]));
  }
  f.hosts = std::move(host_names);
  f.switches = std::move(sorted);
  for (Link& l : f.links) {
    l.lower = l.below == Link::Below::kHost ? new_host[at(l.lower)] : new_switch[at(l.lower)];
    l.upper = new_switch[at(l.upper)];
  }
  std::sort(f.links.begin(), f.links.end(), [](const Link& a, const Link& b) {
    return std::tie(a.upper, a.below, a.lower) < std::tie(b.upper, b.below, b.lower);
  });
}

void note_shape(Fabric& f, const UpLinks& up) {
  int tops = 0, alone = 0;
  std::set<int> heights;
  for (std::size_t s = 0; s < f.switches.size(); ++s)
    if (up.of_switch[s] < 0) {
      ++tops;
      heights.insert(f.switches[s].level);
    }
  for (int link : up.of_host) alone += link < 0;
  if (tops > 1) f.notes.push_back(fmt::format("{} separate trees: no way between them is known", tops));
  if (alone > 0) f.notes.push_back(fmt::format("{} hosts hang from no switch", alone));
  for (const Link& l : f.links)
    if (l.below == Link::Below::kSwitch && f.switches[at(l.lower)].level + 1 != f.switches[at(l.upper)].level) {
      f.notes.push_back(
          fmt::format("leaves are not all at one depth: {} is {} levels below {}", f.switches[at(l.lower)].name,
                      f.switches[at(l.upper)].level - f.switches[at(l.lower)].level, f.switches[at(l.upper)].name));
      break;
    }
}

/// For each switch with hosts below it, their names in order: what a tree is but for names of switches.  Chains of
/// switches with the same hosts count once.
std::set<std::vector<std::string>> groups(const Fabric& f, const std::unordered_set<std::string>& only) {
  std::vector<std::vector<std::string>> below(f.switches.size());
  const auto ways = ways_up(f);
  for (std::size_t h = 0; h < f.hosts.size(); ++h)
    if (only.count(f.hosts[h]))
      for (int s : ways[h]) below[at(s)].push_back(f.hosts[h]);
  std::set<std::vector<std::string>> result;
  for (auto& names : below) {
    std::sort(names.begin(), names.end());
    if (!names.empty()) result.insert(std::move(names));
  }
  return result;
}

std::unordered_set<std::string> shared_hosts(const Fabric& a, const Fabric& b) {
  const std::unordered_set<std::string> of_a(a.hosts.begin(), a.hosts.end());
  std::unordered_set<std::string> both;
  for (const std::string& h : b.hosts)
    if (of_a.count(h)) both.insert(h);
  return both;
}

}  // namespace

std::vector<int> numbers_of(const Fabric& f, const std::vector<std::string>& hosts) {
  std::unordered_map<std::string_view, int> numbers;
  for (std::size_t h = 0; h < f.hosts.size(); ++h) numbers.emplace(f.hosts[h], static_cast<int>(h));
  std::vector<int> result;
  for (const std::string& name : hosts) {
    auto found = numbers.find(name);
    if (found == numbers.end()) found = numbers.find(std::string_view(name).substr(0, name.find('.')));
    if (found == numbers.end())
      throw DataError("{}: host {} is not in it; it is out of date, or the job runs on another cluster", f.source,
                      name);
    result.push_back(found->second);
  }
  return result;
}

UpLinks up_links(const Fabric& f) {
  UpLinks up{std::vector<int>(f.hosts.size(), -1), std::vector<int>(f.switches.size(), -1)};
  for (std::size_t i = 0; i < f.links.size(); ++i) {
    const Link& l = f.links[i];
    const bool host = l.below == Link::Below::kHost;
    int& above = (host ? up.of_host : up.of_switch)[at(l.lower)];
    if (above >= 0)
      throw DataError("{}: {} hangs from both {} and {}; a tree has one switch above each", f.source,
                      host ? f.hosts[at(l.lower)] : f.switches[at(l.lower)].name,
                      f.switches[at(f.links[at(above)].upper)].name, f.switches[at(l.upper)].name);
    above = static_cast<int>(i);
  }
  return up;
}

void settle(Fabric& f) {
  if (f.hosts.empty()) throw DataError("{}: there is no host in it", f.source);
  check_names(f);
  check_links(f);
  const UpLinks up = up_links(f);
  set_levels(f, up);
  sort_by_tree(f, up);
  note_shape(f, up_links(f));  // numbered anew
}

std::vector<std::vector<int>> ways_up(const Fabric& f) {
  const UpLinks up = up_links(f);
  std::vector<std::vector<int>> ways(f.hosts.size());
  for (std::size_t h = 0; h < f.hosts.size(); ++h)
    for (int link = up.of_host[h]; link >= 0;) {
      const int s = f.links[at(link)].upper;
      ways[h].push_back(s);
      link = up.of_switch[at(s)];
    }
  return ways;
}

GroupTree tree_of(const Fabric& f, const std::vector<std::string>& hosts) {
  const std::vector<int> numbers = numbers_of(f, hosts);
  const auto ways = ways_up(f);
  std::size_t height = 1;
  for (const auto& way : ways) height = std::max(height, way.size() + 1);
  GroupTree tree;
  for (std::size_t level = 0; level < height; ++level) {
    std::map<int, int> places;
    std::vector<int> of;
    for (int host : numbers) {
      // What has no switch so high above it stands for itself.
      const auto& way = ways[at(host)];
      const int place = level == 0 || way.empty() ? -1 - host : way[std::min(level, way.size()) - 1];
      of.push_back(places.emplace(place, static_cast<int>(places.size())).first->second);
    }
    tree.levels.push_back(std::move(of));
  }
  return tree;
}

std::vector<HostRates> rates_of(const Fabric& f, const std::vector<std::string>& hosts) {
  const UpLinks up = up_links(f);
  std::vector<HostRates> rates;
  for (int host : numbers_of(f, hosts)) {
    HostRates& r = rates.emplace_back();
    const int way = up.of_host[at(host)];
    if (way < 0) continue;
    r.host = f.links[at(way)].rate;
    for (int above = way, level = 0; (above = up.of_switch[at(f.links[at(above)].upper)]) >= 0; ++level)
      if (const Link& l = f.links[at(above)]; level == 0) {
        r.leaf = l.rate;
        r.cables = l.cables;
        if (l.in_turn) r.cable = host % l.cables;
      } else {
        r.above.push_back(l.rate);
      }
  }
  return rates;
}

bool same_shape(const Fabric& a, const Fabric& b) {
  const auto both = shared_hosts(a, b);
  return both.size() == a.hosts.size() && both.size() == b.hosts.size() && groups(a, both) == groups(b, both);
}

std::vector<std::string> differences(const Fabric& a, const Fabric& b, std::size_t most) {
  std::vector<std::string> lines;
  const auto add = [&](std::string line) {
    if (lines.size() < most) lines.push_back(std::move(line));
  };
  const auto both = shared_hosts(a, b);
  const auto missing = [&](const Fabric& from, const Fabric& in) {
    std::vector<std::string> names;
    for (const std::string& h : from.hosts)
      if (!both.count(h)) names.push_back(h);
    if (!names.empty()) add(fmt::format("{} knows {}, {} does not", from.source, fold_host_list(names), in.source));
  };
  missing(a, b);
  missing(b, a);
  const auto of_a = groups(a, both), of_b = groups(b, both);
  const auto apart = [&](const auto& these, const auto& those, const Fabric& from, const Fabric& in) {
    for (const auto& names : these)
      if (!those.count(names))
        add(fmt::format("{} has {} below one switch, {} has not", from.source, fold_host_list(names), in.source));
  };
  apart(of_a, of_b, a, b);
  apart(of_b, of_a, b, a);
  return lines;
}

}  // namespace banyan::comm
