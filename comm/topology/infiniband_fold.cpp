// fold of comm/topology/infiniband.hpp.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <unordered_map>
#include <utility>

#include "comm/topology/disjoint_sets.hpp"
#include "comm/topology/fabric_builder.hpp"
#include "comm/topology/infiniband.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

/// A host has no more adapters, and hangs from no more leaves; pairs of leaves stay countable.
constexpr std::size_t kMostAdapters = 32;

/// Names go into files and host lists, where only some signs are safe.
std::string plain(std::string_view name) {
  std::string result;
  for (char c : name)
    result +=
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' ? c : '_';
  return result;
}

class Folder {
 public:
  explicit Folder(const IbNetwork& network)
      : n_(network), level_(n_.nodes.size(), 0), units_(n_.nodes.size()), builder_(n_.source) {
    neighbours_.resize(n_.nodes.size());
    for (const IbCable& c : n_.cables) {
      if (is(c.a, IbNode::Kind::kOther) || is(c.b, IbNode::Kind::kOther)) continue;
      neighbours_[at(c.a)].push_back(&c);
      neighbours_[at(c.b)].push_back(&c);
    }
  }

  Fabric run() {
    name_hosts();
    find_levels();
    join_rails();
    join_upwards();
    build();
    return builder_.finish();
  }

 private:
  /// Routes in one direction.
  struct Flow {
    double routes = 0, worst = 0;  // of all cables; of the busiest one, by its rate
    /// Bytes/s when the busiest cable is full; 0: nothing is known to go there.
    double rate() const { return worst > 0 ? routes / worst : 0; }
  };
  struct Way {
    int cables = 0, faulty = 0;
    double rate = 0, whole = 0;  // with and without what faulty cables lose
    Flow up = {}, down = {};
    /// How many times its share the busiest cable has; 1: even, or nothing is known.
    double crowding(const Flow& f) const {
      constexpr double kRounding = 1e-9;
      return f.rate() > 0 && rate / f.rate() > 1 + kRounding ? rate / f.rate() : 1;
    }
    double crowding() const { return std::max(crowding(up), crowding(down)); }
  };

  bool is(int node, IbNode::Kind kind) const { return n_.nodes[at(node)].kind == kind; }
  bool is_switch(int node) const { return is(node, IbNode::Kind::kSwitch); }
  static int other(const IbCable& c, int node) { return c.a == node ? c.b : c.a; }

  static std::string_view first_word(const std::string& description) {
    return std::string_view(description).substr(0, description.find(' '));
  }

  /// Adapters whose description names their maker, localhost, or more adapters than a host has room
  /// for are hosts of their own.
  void name_hosts() {
    std::unordered_map<std::string_view, std::size_t> adapters;
    for (std::size_t i = 0; i < n_.nodes.size(); ++i)
      if (is(static_cast<int>(i), IbNode::Kind::kAdapter)) ++adapters[first_word(n_.nodes[i].description)];
    std::unordered_map<std::string, int> numbers;
    for (std::size_t i = 0; i < n_.nodes.size(); ++i) {
      if (!is(static_cast<int>(i), IbNode::Kind::kAdapter)) continue;
      const std::string& d = n_.nodes[i].description;
      const std::string_view word = first_word(d);
      const bool nameless = word.empty() || d.find("Mellanox Technologies") != std::string::npos ||
                            word.substr(0, word.find('.')) == "localhost" || adapters[word] > kMostAdapters;
      const std::string name = nameless ? fmt::format("H-{:016x}", n_.nodes[i].guid) : plain(word);
      nameless_ += nameless;
      const auto [found, fresh] = numbers.emplace(name, static_cast<int>(hosts_.size()));
      if (fresh) hosts_.push_back({name, {}});
      for (const IbCable* c : neighbours_[i])
        if (const int s = other(*c, static_cast<int>(i)); is_switch(s)) {
          hosts_[at(found->second)].second.push_back(c);
          hosts_at_[s].insert(found->second);
        }
    }
  }

  /// Leaves are 1.  A switch with few hosts may be a leaf that is nearly empty, or one far up that a manager's host
  /// hangs from: it is a leaf when it is not next to leaves and all switches next to it are of one place.
  void find_levels() {
    std::size_t most = 0;
    for (const auto& [s, below] : hosts_at_) most = std::max(most, below.size());
    std::vector<int> leaves, few;
    for (const auto& [s, below] : hosts_at_) (below.size() * 2 > most ? leaves : few).push_back(s);
    spread_from(leaves);
    if (few.empty()) return;
    join_upwards();
    for (int s : few) {
      std::set<int> places;
      bool next_to_leaf = false;
      for (const IbCable* c : neighbours_[at(s)])
        if (const int o = other(*c, s); is_switch(o)) {
          places.insert(units_.find(o));
          next_to_leaf = next_to_leaf || level_[at(o)] == 1;
        }
      if (!next_to_leaf && places.size() < 2) leaves.push_back(s);
    }
    units_.part();
    spread_from(leaves);
  }

  void spread_from(std::vector<int> now) {
    std::fill(level_.begin(), level_.end(), 0);
    for (int s : now) level_[at(s)] = 1;
    for (int level = 2; !now.empty(); ++level) {
      if (level > kMostLevels + 1)
        throw DataError("{}: {} would be of level {}, counted from the leaves; with more than {} this is no fat tree",
                        n_.source, n_.nodes[at(now[0])].description, level - 1, kMostLevels);
      std::vector<int> next;
      for (int s : now)
        for (const IbCable* c : neighbours_[at(s)])
          if (const int o = other(*c, s); is_switch(o) && level_[at(o)] == 0) {
            level_[at(o)] = level;
            next.push_back(o);
          }
      levels_ = level - 1;
      now = std::move(next);
    }
  }

  /// Leaves that most hosts of the smaller one have in common are rails of one place.
  void join_rails() {
    std::map<std::pair<int, int>, std::size_t> shared;
    for (const auto& [name, cables] : hosts_) {
      std::set<int> leaves;
      for (const IbCable* c : cables)
        for (int end : {c->a, c->b})
          if (is_switch(end) && level_[at(end)] == 1) leaves.insert(end);
      if (leaves.size() > kMostAdapters)
        throw DataError(
            "{}: host {} hangs from {} leaves, more than the {} that a host may; does its adapter's name "
            "(node_desc) belong to several hosts?",
            n_.source, name, leaves.size(), kMostAdapters);
      for (auto a = leaves.begin(); a != leaves.end(); ++a)
        for (auto b = std::next(a); b != leaves.end(); ++b) ++shared[{*a, *b}];
    }
    for (const auto& [pair, count] : shared)
      if (count * 2 > std::min(hosts_at_[pair.first].size(), hosts_at_[pair.second].size()))
        units_.join(pair.first, pair.second);
  }

  void join_upwards() {
    for (int level = 1; level < levels_; ++level) {
      std::map<int, int> first_above;  // by unit
      for (std::size_t s = 0; s < n_.nodes.size(); ++s) {
        if (!is_switch(static_cast<int>(s)) || level_[s] != level) continue;
        for (const IbCable* c : neighbours_[s]) {
          const int o = other(*c, static_cast<int>(s));
          if (!is_switch(o) || level_[at(o)] != level + 1) continue;
          const auto [found, fresh] = first_above.emplace(units_.find(static_cast<int>(s)), o);
          if (!fresh) units_.join(found->second, o);
        }
      }
    }
  }

  /// `up` are the routes from the lower end.
  static void add(Way& way, const IbCable& c, double up = 0, double down = 0) {
    const double rate = c.rate * (c.faulty ? kFaultyShare : 1);
    ++way.cables;
    way.faulty += c.faulty;
    way.whole += c.rate;
    way.rate += rate;
    for (const auto& [flow, routes] : {std::pair(&way.up, up), std::pair(&way.down, down)}) {
      flow->routes += routes;
      flow->worst = std::max(flow->worst, routes / rate);
    }
  }

  /// Why a way has less than most of its like.
  static std::string reason(const Way& way, const Way& usual) {
    std::string text;
    const auto say = [&](const std::string& word) { text += (text.empty() ? "" : ",") + word; };
    if (way.cables < usual.cables) say(fmt::format("{}_of_{}_cables", way.cables, usual.cables));
    if (way.whole / way.cables < 0.999 * usual.whole / usual.cables)
      say(fmt::format("{:.3g}_instead_of_{:.3g}_GB/s_a_cable", way.whole / way.cables * 1e-9,
                      usual.whole / usual.cables * 1e-9));
    if (way.faulty > 0) say(fmt::format("{}_faulty", way.faulty));
    for (const auto& [flow, word] : {std::pair(&way.up, "up"), std::pair(&way.down, "down")})
      if (const double c = way.crowding(*flow); c > kEvenRoutes)
        say(fmt::format("busiest_cable_{}_has_{:.3g}_times_its_share", word, c));
    return text;
  }

  /// What most of them have; of equally many the larger.
  static Way usual(const std::vector<const Way*>& ways) {
    std::map<std::pair<int, double>, int> count;
    for (const Way* w : ways) ++count[{w->cables, w->whole}];
    const auto best = std::max_element(count.begin(), count.end(), [](const auto& a, const auto& b) {
      return std::pair(a.second, a.first) < std::pair(b.second, b.first);
    });
    return {.cables = best->first.first, .whole = best->first.second};
  }

  void build() {
    std::map<int, std::vector<int>> members;  // by unit
    int lost = 0;
    for (std::size_t s = 0; s < n_.nodes.size(); ++s)
      if (is_switch(static_cast<int>(s))) {
        if (level_[s] > 0)
          members[units_.find(static_cast<int>(s))].push_back(static_cast<int>(s));
        else
          ++lost;
      }
    std::map<int, int> number;
    std::set<std::string> taken;
    std::vector<std::pair<std::string, int>> by_name;
    for (const auto& [u, switches] : members) {
      const int first = *std::min_element(switches.begin(), switches.end(), [&](int a, int b) {
        return n_.nodes[at(a)].description < n_.nodes[at(b)].description;
      });
      std::string name = plain(n_.nodes[at(first)].description);
      if (switches.size() > 1) name += fmt::format("_and_{}_more", switches.size() - 1);
      if (name.empty() || !taken.insert(name).second) {
        name = fmt::format("S-{:016x}", n_.nodes[at(u)].guid);
        taken.insert(name);
      }
      by_name.emplace_back(name, u);
    }
    std::sort(by_name.begin(), by_name.end());
    for (const auto& [name, u] : by_name) number[u] = builder_.define_switch(name, 0);
    link_hosts(number);
    link_switches(number);
    for (const std::string& note : n_.notes) builder_.note(note);
    if (lost > 0) builder_.note(fmt::format("{} switches lead to no host and are left out", lost));
    if (nameless_ > 0)
      builder_.note(fmt::format(
          "{} adapters do not tell the name of their host (node_desc); they are called by their GUIDs", nameless_));
  }

  void link_hosts(const std::map<int, int>& number) {
    std::map<int, std::map<int, Way>> ways;  // [host][unit]
    for (std::size_t h = 0; h < hosts_.size(); ++h)
      for (const IbCable* c : hosts_[h].second)
        for (int end : {c->a, c->b})
          if (is_switch(end) && level_[at(end)] > 0) add(ways[static_cast<int>(h)][units_.find(end)], *c);
    int twice = 0;
    std::map<int, std::pair<int, const Way*>> chosen;
    std::vector<const Way*> all;
    for (const auto& [h, by_unit] : ways) {
      twice += by_unit.size() > 1;
      auto best = by_unit.begin();
      for (auto w = by_unit.begin(); w != by_unit.end(); ++w)
        if (std::pair(-level_[at(w->first)], w->second.cables) >
            std::pair(-level_[at(best->first)], best->second.cables))
          best = w;
      chosen[h] = {best->first, &best->second};
      all.push_back(&best->second);
    }
    if (all.empty()) throw DataError("{}: no adapter of a host hangs from a switch", n_.source);
    const Way most = usual(all);
    std::vector<int> by_name(hosts_.size());
    std::iota(by_name.begin(), by_name.end(), 0);
    std::sort(by_name.begin(), by_name.end(), [&](int a, int b) { return hosts_[at(a)].first < hosts_[at(b)].first; });
    int alone = 0;
    for (int h : by_name) {
      const auto way = chosen.find(h);
      if (way == chosen.end()) {
        ++alone;
        continue;
      }
      const auto [u, w] = way->second;
      builder_.link_host(hosts_[at(h)].first, link(*w, most, number.at(u)), 0);
    }
    if (alone > 0) builder_.note(fmt::format("{} hosts have no cable to a switch and are left out", alone));
    if (twice > 0)
      builder_.note(
          fmt::format("{} hosts hang from several places; each is counted where most of its cables go", twice));
  }

  void link_switches(const std::map<int, int>& number) {
    std::map<int, std::map<int, Way>> ways;  // [unit][unit above]
    std::map<int, std::vector<const Way*>> like;
    int inside = 0;
    for (const IbCable& c : n_.cables) {
      if (!is_switch(c.a) || !is_switch(c.b) || level_[at(c.a)] == 0) continue;
      const int low = level_[at(c.a)] < level_[at(c.b)] ? c.a : c.b, high = other(c, low);
      if (level_[at(low)] + 1 != level_[at(high)])
        ++inside;
      else
        add(ways[units_.find(low)][units_.find(high)], c, low == c.a ? c.routes_ab : c.routes_ba,
            low == c.a ? c.routes_ba : c.routes_ab);
    }
    for (const auto& [u, above] : ways)
      for (const auto& [v, w] : above) like[level_[at(u)]].push_back(&w);
    std::map<int, Way> most;
    for (const auto& [level, all] : like) most[level] = usual(all);
    // In the order of their names, which is that of their numbers.
    std::map<int, int> unit_of;
    for (const auto& [u, above] : ways) unit_of[number.at(u)] = u;
    for (const auto& [lower, u] : unit_of)
      for (const auto& [v, w] : ways[u]) {
        Link l = link(w, most[level_[at(u)]], number.at(v));
        l.below = Link::Below::kSwitch;
        l.lower = lower;
        builder_.link(std::move(l));
      }
    if (n_.routed) {
      double crowding = 1;
      for (const auto& [u, above] : ways)
        for (const auto& [v, w] : above) crowding = std::max(crowding, w.crowding());
      builder_.note(fmt::format("by its routes the busiest cable of a way has {:.3g} times its share", crowding));
    }
    if (inside > 0)
      builder_.note(fmt::format("not a fat tree: {} cables join switches of one level and are left out", inside));
  }

  static Link link(const Way& w, const Way& most, int upper) {
    return {.upper = upper, .cables = w.cables, .rate = w.rate / w.crowding(), .reason = reason(w, most)};
  }

  const IbNetwork& n_;
  std::vector<std::vector<const IbCable*>> neighbours_;
  std::vector<int> level_;
  DisjointSets units_;                                                      // switches that are one place
  std::vector<std::pair<std::string, std::vector<const IbCable*>>> hosts_;  // name and cables
  std::map<int, std::set<int>> hosts_at_;                                   // by switch
  int levels_ = 0, nameless_ = 0;
  FabricBuilder builder_;
};

}  // namespace

Fabric fold(const IbNetwork& network) { return Folder(network).run(); }

}  // namespace banyan::comm
