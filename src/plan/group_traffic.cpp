#include "src/plan/group_traffic.hpp"

#include <algorithm>

#include "src/plan/traffic.hpp"

namespace banyan::plan {

void GroupTraffic::carry(std::size_t phase, std::size_t way, double bytes) {
  sent_.push_back({phase, way, bytes});
  if (bytes_[way] == 0) carried_.emplace_back(way, 0.0);
  bytes_[way] += bytes;
}

void GroupTraffic::put(std::vector<int> nodes, double bytes) {
  carried_.clear();
  sent_.clear();
  units_.clear();
  int most = 0;
  for (int n : nodes) {
    int& unit = unit_of_[static_cast<std::size_t>(n)];
    if (unit < 0) {
      unit = static_cast<int>(units_.size());
      units_.push_back({n, 0, 1});
    }
    most = std::max(most, ++units_[static_cast<std::size_t>(unit)].members);
  }
  for (const Unit& u : units_) unit_of_[static_cast<std::size_t>(u.node)] = -1;
  std::stable_sort(units_.begin(), units_.end(), [&](const Unit& a, const Unit& b) {
    return ways_.order_of_leaf(a.node) < ways_.order_of_leaf(b.node);
  });
  inside_ = sent_by_part(bytes, most);
  latency_ = most > 1 ? ways_.links().node.latency : 0;
  for (std::size_t level = 1; level <= ways_.levels() && units_.size() > 1; ++level) {
    bool any = false;
    for (std::size_t begin = 0, end = 0; begin < units_.size(); begin = end) {
      for (end = begin + 1; end < units_.size() &&
                            (level == ways_.levels() || place(level, units_[begin]) == place(level, units_[end]));)
        ++end;
      any = exchange(level, begin, end, bytes) || any;
    }
    if (any) latency_ += level == 1 ? ways_.links().leaf.latency : ways_.links().across.latency;
  }
  for (auto& [way, carried] : carried_) {
    carried = bytes_[way];
    bytes_[way] = 0;
  }
}

void GroupTraffic::add(std::size_t way, double bytes) {
  if (in_phase_[way] == 0) touched_.push_back(way);
  in_phase_[way] += bytes;
}

void GroupTraffic::meet(int from, int to, double bytes) {
  for (std::size_t level = 0; level < ways_.levels(); ++level) {
    if (ways_.place_of_node(level, from) == ways_.place_of_node(level, to)) break;
    add(ways_.way(level, ways_.place_of_node(level, from)), bytes);
    if (level != 1) continue;
    if (const int up = ways_.cable_up(ways_.place_of_node(1, from), to); up >= 0)
      add(static_cast<std::size_t>(up), bytes);
    if (const int down = ways_.cable(to); down >= 0) add(static_cast<std::size_t>(down), bytes);
  }
}

void GroupTraffic::put(const Meetings& meetings, const std::vector<int>& nodes, double bytes) {
  carried_.clear();
  sent_.clear();
  latency_ = 0;
  of_member_.assign(nodes.size(), 0.0);
  for (std::size_t phase = 0; phase < meetings.size(); ++phase) {
    double latency = 0;
    touched_.clear();
    for (const Meeting& m : meetings[phase]) {
      const int a = nodes[static_cast<std::size_t>(m.a)], b = nodes[static_cast<std::size_t>(m.b)];
      if (a == b) {
        of_member_[static_cast<std::size_t>(m.a)] += m.share * bytes;
        of_member_[static_cast<std::size_t>(m.b)] += m.share * bytes;
        latency = std::max(latency, ways_.links().node.latency);
        continue;
      }
      meet(a, b, m.share * bytes);
      meet(b, a, m.share * bytes);
      const bool leaf = ways_.place_of_node(1, a) == ways_.place_of_node(1, b);
      latency = std::max(latency, leaf ? ways_.links().leaf.latency : ways_.links().across.latency);
    }
    latency_ += latency;
    for (std::size_t way : touched_) {
      carry(phase, way, in_phase_[way]);
      in_phase_[way] = 0;
    }
  }
  for (auto& [way, carried] : carried_) {
    carried = bytes_[way];
    bytes_[way] = 0;
  }
  inside_ = nodes.empty() ? 0 : *std::max_element(of_member_.begin(), of_member_.end());
}

bool GroupTraffic::exchange(std::size_t level, std::size_t begin, std::size_t end, double bytes) {
  int parts = 1;
  for (std::size_t u = begin + 1; u < end; ++u) parts += place(level - 1, units_[u]) != place(level - 1, units_[u - 1]);
  if (parts < 2) return false;
  const double sent = sent_by_part(bytes, parts);
  for (std::size_t l = 0; l < level; ++l) {
    double here = 0;
    for (std::size_t u = begin; u < end; ++u) {
      const std::size_t way = ways_.way(l, place(l, units_[u]));
      here += sent * units_[u].share;
      if (u + 1 < end && place(l, units_[u]) == place(l, units_[u + 1])) continue;
      carry(level - 1, way, here);
      here = 0;
    }
  }
  if (level > 1 && ways_.fixed()) climb(level, begin, end, sent / (parts - 1));
  for (std::size_t u = begin; u < end; ++u) {
    const int cable = level > 1 ? ways_.cable(units_[u].node) : -1;
    if (cable >= 0) carry(level - 1, static_cast<std::size_t>(cable), sent * units_[u].share);
    units_[u].share /= parts;
  }
  return true;
}

void GroupTraffic::climb(std::size_t level, std::size_t begin, std::size_t end, double bytes) {
  // Every unit has a run of the bytes of its part; where two parts are divided alike its partner there has the same.
  const auto part = [&](std::size_t u) { return place(level - 1, units_[u]); };
  for (std::size_t from = begin; from < end;) {
    std::size_t from_end = from;
    while (from_end < end && part(from_end) == part(from)) ++from_end;
    for (std::size_t to = begin; to < end;) {
      std::size_t to_end = to;
      while (to_end < end && part(to_end) == part(to)) ++to_end;
      if (to != from) {
        double done = 0;
        std::size_t u = from, v = to;
        double of_u = units_[u].share, of_v = units_[v].share;
        while (u < from_end && v < to_end) {
          const double until = std::min(of_u, of_v);
          const int cable = ways_.cable_up(place(1, units_[u]), units_[v].node);
          if (cable >= 0 && until > done) carry(level - 1, static_cast<std::size_t>(cable), bytes * (until - done));
          done = until;
          if (of_u <= until * (1 + 1e-12) && ++u < from_end) of_u += units_[u].share;
          if (of_v <= until * (1 + 1e-12) && ++v < to_end) of_v += units_[v].share;
          if (u >= from_end || v >= to_end) break;
        }
      }
      to = to_end;
    }
    from = from_end;
  }
}

}  // namespace banyan::plan
