#include "comm/cost.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <map>
#include <queue>
#include <set>
#include <utility>

#include "comm/plans/to_messages.hpp"

namespace banyan::comm {
namespace {

// Of a message's latency, what keeps its two ends busy.
constexpr double kBusyShare = 0.3;
// Up to here all ranks are played against each other.
constexpr int kPlayed = 16;
// Of larger groups: a few ranks, each alone.
constexpr int kSampled = 3;
// Steps of a plan that are played; longer ones are priced at a smaller size.
constexpr std::int64_t kLargestPlayed = 4 << 20;

/// The place of each member at both levels, for shared links.
struct Places {
  std::vector<int> node, leaf;
  Places(const GroupTree& tree, int size)
      : node(static_cast<std::size_t>(size), 0), leaf(static_cast<std::size_t>(size), 0) {
    if (!tree.levels.empty()) node = tree.levels[0];
    if (tree.levels.size() > 1) leaf = tree.levels[1];
  }
};

/// Links that several messages want are used by one after the other.
class Wires {
 public:
  Wires(const GroupTree& tree, int size, const Links& links) : tree_(tree), places_(tree, size), links_(links) {}
  /// Arrival of a message that is ready at `now`.
  double send(int from, int to, double bytes, double now) {
    const Distance d = distance(tree_, from, to);
    const LinkCost& link = links_.at(d);
    if (from == to) return now + bytes / links_.copy_rate;
    double start = now;
    const auto held = [&](int what, int place, double rate) {
      double& free = free_[{what, place}];
      start = std::max(start, free);
      later_.push_back({&free, bytes / rate});
    };
    later_.clear();
    const auto f = static_cast<std::size_t>(from), t = static_cast<std::size_t>(to);
    if (d == Distance::kNode) {
      held(0, from, link.rate);
      held(1, to, link.rate);
    } else {
      held(2, places_.node[f], links_.leaf.rate);
      held(3, places_.node[t], links_.leaf.rate);
      if (d == Distance::kAcross) {
        held(4, places_.leaf[f], link.rate);
        held(5, places_.leaf[t], link.rate);
      }
    }
    for (const auto& [free, seconds] : later_) *free = start + seconds;
    return start + link.seconds(bytes);
  }

 private:
  const GroupTree& tree_;
  const Places places_;
  const Links& links_;
  std::map<std::pair<int, int>, double> free_;  // by kind of link and place
  std::vector<std::pair<double*, double>> later_;
};

/// All plans of a collective against each other.
class Play {
 public:
  Play(const std::vector<Plan>& plans, const GroupTree& tree, const Links& links, double element)
      : plans_(plans),
        links_(links),
        tree_(tree),
        element_(element),
        wires_(tree, static_cast<int>(plans.size()), links),
        ranks_(plans.size()) {
    for (std::size_t r = 0; r < plans.size(); ++r) ranks_[r].complete.assign(plans[r].steps.size(), 0.0);
  }

  double run() {
    std::set<std::pair<double, int>> ready;  // by clock: who is earliest uses shared links first
    for (int r = 0; r < size(); ++r) ready.insert({0.0, r});
    while (!ready.empty()) {
      const auto [clock, r] = *ready.begin();
      ready.erase(ready.begin());
      woken_.clear();
      if (step(r)) ready.insert({at(r).clock, r});
      for (int w : woken_) ready.insert({at(w).clock, w});
    }
    double last = 0;
    for (const Rank& rank : ranks_) {
      last = std::max(last, rank.clock);
      for (double c : rank.complete) last = std::max(last, c);
    }
    return last;
  }

 private:
  struct Rank {
    double clock = 0;
    std::size_t next = 0;
    std::vector<double> complete;                 // by step; a receive's is known when its message is sent
    std::map<int, std::deque<double>> arrived;    // by peer: messages that no step asked for yet
    std::map<int, std::deque<std::size_t>> asks;  // by peer: receives whose message is not sent yet
    std::set<std::size_t> open;                   // the same, all peers
    std::pair<int, std::size_t> waits{-1, 0};     // peer and step, where it is stuck
  };
  int size() const { return static_cast<int>(ranks_.size()); }
  Rank& at(int r) { return ranks_[static_cast<std::size_t>(r)]; }

  double busy(int a, int b) const { return kBusyShare * links_.at(distance(tree_, a, b)).latency; }

  void deliver(int from, int to, double when) {
    Rank& rank = at(to);
    auto& asks = rank.asks[from];
    if (asks.empty()) {
      rank.arrived[from].push_back(when);
      if (rank.waits.first == from) wake(to);
      return;
    }
    rank.complete[asks.front()] = when;
    rank.open.erase(asks.front());
    asks.pop_front();
    if (rank.waits.first == from) wake(to);
  }
  void wake(int r) {
    at(r).waits = {-1, 0};
    woken_.push_back(r);
  }

  /// Plays the next step of a rank; false when it is stuck or done.
  bool step(int r) {
    Rank& rank = at(r);
    const Plan& plan = plans_[static_cast<std::size_t>(r)];
    if (rank.next == plan.steps.size()) return false;
    const Step& s = plan.steps[rank.next];
    for (int need : s.needs) {
      const auto n = static_cast<std::size_t>(need);
      if (rank.open.count(n)) return stuck(rank, plan.steps[n].peer);
      rank.clock = std::max(rank.clock, rank.complete[n]);
    }
    const auto bytes = [&](const Slice& slice) { return element_ * static_cast<double>(slice.count); };
    switch (s.kind) {
      case Step::Kind::kSend:
        rank.clock += busy(r, s.peer);
        rank.complete[rank.next] = rank.clock;
        deliver(r, s.peer, wires_.send(r, s.peer, bytes(s.source), rank.clock));
        break;
      case Step::Kind::kReceive: {
        rank.clock += busy(r, s.peer);
        auto& arrived = rank.arrived[s.peer];
        if (arrived.empty()) {
          rank.asks[s.peer].push_back(rank.next);
          rank.open.insert(rank.next);
        } else {
          rank.complete[rank.next] = arrived.front();
          arrived.pop_front();
        }
        break;
      }
      case Step::Kind::kReduce:
        rank.clock += bytes(s.target) / links_.reduce_rate;
        break;
      case Step::Kind::kCopy:
        rank.clock += bytes(s.target) / links_.copy_rate;
        break;
      case Step::Kind::kPublish:
        rank.clock += busy(r, r) + bytes(s.source) / links_.copy_rate;
        for (int peer : s.peers) deliver(r, peer, rank.clock + links_.node.latency / 2);
        break;
      case Step::Kind::kFold: {
        for (const Operand& o : s.operands)
          if (o.peer >= 0 && rank.arrived[o.peer].empty()) return stuck(rank, o.peer);
        for (const Operand& o : s.operands)
          if (o.peer >= 0) {
            rank.clock = std::max(rank.clock, rank.arrived[o.peer].front());
            rank.arrived[o.peer].pop_front();
          }
        const double added = static_cast<double>(s.operands.size()) - 1;
        rank.clock += busy(r, r) + bytes(s.target) * (added > 0 ? added / links_.reduce_rate : 1 / links_.copy_rate);
        break;
      }
    }
    ++rank.next;
    return true;
  }
  bool stuck(Rank& rank, int peer) {
    rank.waits = {peer, rank.next};
    return false;
  }

  const std::vector<Plan>& plans_;
  const Links& links_;
  const GroupTree& tree_;
  const double element_;
  Wires wires_;
  std::vector<Rank> ranks_;
  std::vector<int> woken_;
};

/// One plan alone: what it sends meets a partner that is at the same point.  Members that share a link have a share.
double play_alone(const Plan& plan, int rank, const GroupTree& tree, int size, const Links& links, double element) {
  const Places places(tree, size);
  const auto r = static_cast<std::size_t>(rank);
  const auto sharing = [&](const std::vector<int>& level) {
    return static_cast<double>(std::count(level.begin(), level.end(), level[r]));
  };
  const double node_share = sharing(places.node), leaf_share = sharing(places.leaf);
  std::vector<double> complete(plan.steps.size(), 0.0);
  double clock = 0, wire_in = 0, wire_out = 0;
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& s = plan.steps[i];
    for (int need : s.needs) clock = std::max(clock, complete[static_cast<std::size_t>(need)]);
    const auto bytes = [&](const Slice& slice) { return element * static_cast<double>(slice.count); };
    const auto travel = [&](double& wire, int peer, double n) {
      const Distance d = distance(tree, rank, peer);
      const LinkCost& link = links.at(d);
      const double share = d == Distance::kNode ? 1 : d == Distance::kLeaf ? node_share : leaf_share;
      clock += kBusyShare * link.latency;
      wire = std::max(wire, clock) + share * n / link.rate;
      complete[i] = wire + link.latency;
    };
    if (s.kind == Step::Kind::kSend) travel(wire_out, s.peer, bytes(s.source));
    if (s.kind == Step::Kind::kReceive) travel(wire_in, s.peer, bytes(s.target));
    if (s.kind == Step::Kind::kReduce) clock += bytes(s.target) / links.reduce_rate;
    if (s.kind == Step::Kind::kCopy) clock += bytes(s.target) / links.copy_rate;
    if (s.kind == Step::Kind::kPublish) clock += kBusyShare * links.node.latency + bytes(s.source) / links.copy_rate;
    if (s.kind == Step::Kind::kFold) {
      const double added = static_cast<double>(s.operands.size()) - 1;
      clock += kBusyShare * links.node.latency +
               bytes(s.target) * (added > 0 ? added / links.reduce_rate : 1 / links.copy_rate);
    }
  }
  for (double c : complete) clock = std::max(clock, c);
  return clock;
}

/// The call with every part smaller by a factor, and the factor.
std::pair<Call, double> smaller(Call call) {
  double total = 0;
  for (std::int64_t c : call.counts) total += static_cast<double>(c) * static_cast<double>(call.element_bytes);
  const double factor = std::max(1.0, total / static_cast<double>(kLargestPlayed));
  if (factor == 1.0) return {std::move(call), 1.0};
  for (std::vector<std::int64_t>* list : {&call.counts, &call.in_counts})
    for (std::int64_t& c : *list) c = static_cast<std::int64_t>(std::ceil(static_cast<double>(c) / factor));
  return {std::move(call), factor};
}

}  // namespace

Distance distance(const GroupTree& tree, int a, int b) {
  const auto same = [&](std::size_t level) {
    return tree.levels.size() <= level ||
           tree.levels[level][static_cast<std::size_t>(a)] == tree.levels[level][static_cast<std::size_t>(b)];
  };
  return same(0) ? Distance::kNode : same(1) ? Distance::kLeaf : Distance::kAcross;
}

double price(const Recipe& recipe, const Call& whole, const GroupTree& tree, const Links& links, bool window) {
  if (whole.size < 2) return 0;
  const std::pair<Call, double> shrunk = smaller(whole);
  const Call& call = shrunk.first;
  const double factor = shrunk.second;
  const auto element = static_cast<double>(call.element_bytes);
  // What is left out of a long call is more of the same, at the rate of its second half.
  const auto played = [&](const std::function<double(const Call&)>& seconds) {
    const double all = seconds(call);
    if (factor == 1.0) return all;
    Call half = call;
    for (std::vector<std::int64_t>* list : {&half.counts, &half.in_counts})
      for (std::int64_t& c : *list) c = (c + 1) / 2;
    return all + (all - seconds(half)) * 2 * (factor - 1);
  };
  return played([&](const Call& c) {
    const auto make = [&](int rank) {
      Plan p = make_plan(recipe, c, tree, rank);
      return window ? p : to_messages(std::move(p));
    };
    if (plays_all(c.size)) {
      std::vector<Plan> plans;
      for (int r = 0; r < c.size; ++r) plans.push_back(make(r));
      return Play(plans, tree, links, element).run();
    }
    double longest = 0;
    for (int i = 0; i < kSampled; ++i) {
      const int r = static_cast<int>(static_cast<std::int64_t>(c.size - 1) * i / (kSampled - 1));
      longest = std::max(longest, play_alone(make(r), r, tree, c.size, links, element));
    }
    return longest;
  });
}

double ring_all_reduce_seconds(const LinkCost& link, double bytes, int ranks) {
  return ranks < 2 ? 0 : 2.0 * (ranks - 1) * link.seconds(bytes / ranks);
}

bool plays_all(int size) { return size <= kPlayed; }

Call even_call(CollectiveKind kind, int size, std::int64_t bytes) {
  Call call{.kind = kind, .size = size, .element_bytes = 4};
  const std::int64_t count = (bytes + 3) / 4;
  switch (kind) {
    case CollectiveKind::kAllReduce:
    case CollectiveKind::kBroadcast:
      call.counts = {count};
      break;
    case CollectiveKind::kReduceScatter:
    case CollectiveKind::kAllGather:
    case CollectiveKind::kAllToAll: {
      const Parts parts = Parts::even(count, size);
      for (int r = 0; r < size; ++r) call.counts.push_back(parts.count(r));
      break;
    }
    case CollectiveKind::kBarrier:
      call.element_bytes = 1;
      break;
  }
  if (kind == CollectiveKind::kAllToAll) {
    // All pairs alike, or the parts of two members would not fit each other.
    std::fill(call.counts.begin(), call.counts.end(), std::max<std::int64_t>(1, count / size));
    call.in_counts = call.counts;
  }
  return call;
}

}  // namespace banyan::comm
