#include "src/plan/refine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <map>
#include <numeric>
#include <utility>

#include "src/base/rng.hpp"
#include "src/plan/group_traffic.hpp"

namespace banyan::plan {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

/// What is compared: seconds, then ranks that have to fetch their part, then how unevenly shared ways are loaded.
struct Score {
  double seconds = 0;
  int moved = 0;
  double squares = 0;
  bool operator<(const Score& o) const {
    // Sums in another order differ in their last bits; that is no gain.
    const double least = 1e-9 * (seconds + o.seconds);
    if (seconds < o.seconds - least || o.seconds < seconds - least) return seconds < o.seconds;
    if (moved != o.moved) return moved < o.moved;
    return squares < o.squares * (1 - 1e-9);
  }
};

/// Values of which the largest is wanted, while one after the other changes: the winners of a tournament.
class Largest {
 public:
  explicit Largest(std::size_t count) : first_(1) {
    while (first_ < count) first_ *= 2;
    of_.assign(2 * first_, 0.0);
  }
  void set(std::size_t i, double value) {
    for (of_[i += first_] = value; i > 1; i /= 2) of_[i / 2] = std::max(of_[i], of_[i ^ 1]);
  }
  double get() const { return of_[1]; }

 private:
  std::size_t first_;
  std::vector<double> of_;
};

/// A flow seen from nodes: its members are blocks, which is what a node holds at first and another may hold later.
struct BlockFlow {
  std::size_t axis = 0;
  double bytes = 0;
  std::vector<int> members{};                             ///< sorted
  std::vector<std::pair<std::size_t, double>> carried{};  ///< bytes by way, where its members are now
};

class Search {
 public:
  Search(const PlacementQuestion& q, const PlacementPrice& start)
      : q_(q), traffic_(q.ways), slowest_{Largest(q.ways.size()), Largest(q.ways.size()), Largest(q.ways.size())} {
    bytes_.fill(std::vector<double>(q.ways.size(), 0.0));
    change_.assign(q.ways.size(), 0.0);
    const Loads loads = q.loads(start.process_of, Follows::kOwnPlaces);
    for (std::size_t axis = 0; axis < kMeshAxes; ++axis)
      inside_[axis] = *std::max_element(loads[axis].inside.begin(), loads[axis].inside.end()) / q.links.node.rate;
    const std::size_t nodes = q.ways.places(0);
    ranks_of_node_.resize(nodes);
    for (std::size_t r = 0; r < q.fabric.places.size(); ++r)
      ranks_of_node_[at(q.fabric.places[r].node)].push_back(static_cast<int>(r));
    for (std::vector<int>& ranks : ranks_of_node_)
      std::stable_sort(ranks.begin(), ranks.end(), [&](int x, int y) {
        return q.fabric.places[at(x)].local_rank < q.fabric.places[at(y)].local_rank;
      });
    nodes_of_leaf_.resize(q.ways.places(1));
    for (std::size_t n = 0; n < nodes; ++n)
      if (!ranks_of_node_[n].empty()) nodes_of_leaf_[at(place(1, static_cast<int>(n)))].push_back(static_cast<int>(n));
    std::vector<int> block_of;
    held_.resize(nodes);
    for (std::size_t i = 0; i < start.process_of.size(); ++i) {
      block_of.push_back(q.ways.place(0, start.process_of[i]));
      held_[at(block_of[i])].push_back(static_cast<int>(i));
    }
    node_of_.resize(nodes);
    std::iota(node_of_.begin(), node_of_.end(), 0);
    block_at_ = node_of_;
    for (std::size_t b = 0; b < nodes; ++b) moved_ += moved(static_cast<int>(b));
    merge_flows(block_of);
  }

  Score score() const {
    Score s{.moved = moved_};
    for (std::size_t axis = 0; axis < kMeshAxes; ++axis) {
      s.seconds += std::max(inside_[axis], slowest_[axis].get());
      for (std::size_t w = q_.ways.places(0); w < q_.ways.size(); ++w) {
        const double seconds = bytes_[axis][w] / q_.ways.rates()[w];
        s.squares += seconds * seconds;
      }
    }
    return s;
  }

  bool swappable(int a, int b) const {
    return a != b && held_[at(a)].size() <= ranks_of_node_[at(node_of_[at(b)])].size() &&
           held_[at(b)].size() <= ranks_of_node_[at(node_of_[at(a)])].size() &&
           held_[at(a)].size() + held_[at(b)].size() > 0 && !silences(a, b) && !silences(b, a);
  }
  /// Swaps what two blocks' nodes hold.
  void swap(int a, int b) {
    moved_ -= moved(a) + moved(b);
    // Who is in both flows leaves a place where the other arrives.
    const std::vector<int>&of_a = flows_of_[at(a)], &of_b = flows_of_[at(b)];
    const int node_a = node_of_[at(a)], node_b = node_of_[at(b)];
    only_a_.clear();
    only_b_.clear();
    std::set_difference(of_a.begin(), of_a.end(), of_b.begin(), of_b.end(), std::back_inserter(only_a_));
    std::set_difference(of_b.begin(), of_b.end(), of_a.begin(), of_a.end(), std::back_inserter(only_b_));
    std::swap(node_of_[at(a)], node_of_[at(b)]);
    std::swap(block_at_[at(node_a)], block_at_[at(node_b)]);
    undo_.clear();
    for (const std::vector<int>* flows : {&only_a_, &only_b_})
      for (int f : *flows) {
        undo_.emplace_back(f, flows_[at(f)].carried);
        carry(flows_[at(f)]);
      }
    moved_ += moved(a) + moved(b);
  }
  /// Takes the last swap back.
  void unswap(int a, int b) {
    moved_ -= moved(a) + moved(b);
    std::swap(node_of_[at(a)], node_of_[at(b)]);
    std::swap(block_at_[at(node_of_[at(a)])], block_at_[at(node_of_[at(b)])]);
    for (auto& [f, carried] : undo_) carry(flows_[at(f)], std::move(carried));
    undo_.clear();
    moved_ += moved(a) + moved(b);
  }
  /// The `draw`-th pair to try: a member of a flow comes to the leaf of another member, in place of somebody who is not
  /// in it; every fourth time any two.
  std::pair<int, int> pair(std::uint64_t key, std::uint64_t draw) const {
    const auto random = [&](std::uint64_t what, std::size_t below) {
      return static_cast<std::size_t>(rng::mix(rng::mix(key, draw), what) % below);
    };
    const int any = static_cast<int>(random(0, node_of_.size()));
    if (draw % 4 == 3 || flows_.empty()) return {any, static_cast<int>(random(1, node_of_.size()))};
    const std::vector<int>& members = flows_[random(2, flows_.size())].members;
    const int a = members[random(3, members.size())], other = members[random(4, members.size())];
    const int leaf = place(1, node_of_[at(other)]);
    if (place(1, node_of_[at(a)]) == leaf) return {any, a};
    const std::vector<int>& nodes = nodes_of_leaf_[at(leaf)];
    const int b = block_at_[at(nodes[random(5, nodes.size())])];
    return {a, std::find(members.begin(), members.end(), b) != members.end() ? any : b};
  }

  std::vector<int> process_of() const {
    std::size_t ranks = 0;
    for (const std::vector<int>& held : held_) ranks += held.size();
    std::vector<int> result(ranks);
    for (std::size_t b = 0; b < held_.size(); ++b)
      for (std::size_t i = 0; i < held_[b].size(); ++i) result[at(held_[b][i])] = ranks_of_node_[at(node_of_[b])][i];
    return result;
  }
  std::size_t blocks() const { return node_of_.size(); }

 private:
  /// Flows between the same blocks are one; what stays inside a block never changes.
  void merge_flows(const std::vector<int>& block_of) {
    std::map<std::pair<std::size_t, std::vector<int>>, double> merged;
    for (const Flow& f : q_.flows) {
      std::vector<int> blocks;
      for (int i : f.members)
        if (std::find(blocks.begin(), blocks.end(), block_of[at(i)]) == blocks.end()) blocks.push_back(block_of[at(i)]);
      if (blocks.size() > 1) merged[{static_cast<std::size_t>(f.axis), std::move(blocks)}] += f.bytes;
    }
    flows_of_.resize(held_.size());
    for (const auto& [key, bytes] : merged) {
      for (int b : key.second) flows_of_[at(b)].push_back(static_cast<int>(flows_.size()));
      carry(flows_.emplace_back(BlockFlow{key.first, bytes, key.second}));
    }
  }
  int place(std::size_t level, int node) const { return q_.ways.place(level, ranks_of_node_[at(node)].front()); }
  int moved(int block) const {
    if (q_.before.empty()) return 0;
    return static_cast<int>(std::count_if(held_[at(block)].begin(), held_[at(block)].end(),
                                          [&](int i) { return q_.before[at(i)] != node_of_[at(block)]; }));
  }
  /// Whether rank 0, which speaks for the job, would become a spare.
  bool silences(int from, int to) const {
    return node_of_[at(from)] == q_.fabric.places[0].node && held_[at(to)].empty();
  }
  /// Puts a flow onto the ways where its members are now.
  void carry(BlockFlow& f) {
    nodes_.clear();
    for (int b : f.members) nodes_.push_back(node_of_[at(b)]);
    traffic_.put(nodes_, f.bytes);
    carry(f, traffic_.carried());
  }
  void carry(BlockFlow& f, std::vector<std::pair<std::size_t, double>> carried) {
    // Most ways carry the same as before.
    std::vector<double>& bytes = bytes_[f.axis];
    for (const auto& [way, n] : f.carried) change_[way] -= n;
    for (const auto& [way, n] : carried) change_[way] += n;
    for (const auto* list : {&f.carried, &carried})
      for (const auto& [way, n] : *list) {
        if (std::abs(change_[way]) > 1e-12 * n)
          slowest_[f.axis].set(way, (bytes[way] += change_[way]) / q_.ways.rates()[way]);
        change_[way] = 0;
      }
    f.carried = std::move(carried);
  }

  const PlacementQuestion& q_;
  GroupTraffic traffic_;
  std::array<std::vector<double>, kMeshAxes> bytes_;  ///< by way
  std::vector<double> change_;                        ///< the same, of one flow; 0 but while it is moved
  std::array<Largest, kMeshAxes> slowest_;            ///< seconds by way
  std::array<double, kMeshAxes> inside_{};            ///< seconds inside nodes, which swaps leave alone
  std::vector<std::vector<int>> ranks_of_node_;       ///< world ranks
  std::vector<std::vector<int>> held_;                ///< logical ranks of each block
  std::vector<int> node_of_, block_at_;               ///< by block, by node
  std::vector<std::vector<int>> nodes_of_leaf_;
  std::vector<BlockFlow> flows_;
  std::vector<std::vector<int>> flows_of_;  ///< by block, sorted
  std::vector<int> only_a_, only_b_, nodes_;
  std::vector<std::pair<int, std::vector<std::pair<std::size_t, double>>>> undo_;  ///< flows, and what they carried
  int moved_ = 0;
};

}  // namespace

double congestion(const PlacementQuestion& q, const Loads& loads) {
  double seconds = 0;
  for (const AxisLoad& load : loads) {
    double most = *std::max_element(load.inside.begin(), load.inside.end()) / q.links.node.rate;
    for (std::size_t w = 0; w < q.ways.size(); ++w) most = std::max(most, load.carried(w) / q.ways.rates()[w]);
    seconds += most;
  }
  return seconds;
}

double least_congestion(const PlacementQuestion& q, const Loads& loads) {
  const std::size_t nodes = q.ways.places(0);
  const double fastest =
      *std::max_element(q.ways.rates().begin(), q.ways.rates().begin() + static_cast<std::ptrdiff_t>(nodes));
  double seconds = 0;
  for (const AxisLoad& load : loads) {
    double sum = 0, used = 0;
    for (std::size_t n = 0; n < nodes; ++n) {
      sum += load.carried(n);
      used += load.carried(n) > 0;
    }
    seconds += std::max(*std::max_element(load.inside.begin(), load.inside.end()) / q.links.node.rate,
                        used > 0 ? sum / used / fastest : 0);
  }
  return seconds;
}

std::vector<double> congestion_of_swaps(const PlacementQuestion& q, const PlacementPrice& start,
                                        const std::vector<std::pair<int, int>>& nodes,
                                        std::vector<std::vector<int>>& process_of) {
  Search search(q, start);
  std::vector<double> seconds;
  for (const auto& [a, b] : nodes) {
    if (!search.swappable(a, b)) continue;
    search.swap(a, b);
    // There and back again changes nothing.
    if (seconds.size() % 3 == 2) {
      search.unswap(a, b);
      search.swap(b, a);
    }
    seconds.push_back(search.score().seconds);
    process_of.push_back(search.process_of());
  }
  return seconds;
}

PlacementPrice refine(const PlacementQuestion& q, const PlacementPrice& start, const RefineOptions& options) {
  Search search(q, start);
  Score best = search.score();
  const std::int64_t tries = options.tries > 0 ? options.tries : 2000 + 40 * static_cast<std::int64_t>(search.blocks());
  const std::uint64_t key = rng::named_key(options.seed, "placement swaps");
  // As many in vain as there are nodes, several times over: it will not become better.
  const std::int64_t patience = 2000 + 8 * static_cast<std::int64_t>(search.blocks());
  std::int64_t swaps = 0, last = 0;
  for (std::int64_t i = 0; i < tries && i - last < patience && search.blocks() > 1; ++i) {
    const auto [a, b] = search.pair(key, static_cast<std::uint64_t>(i));
    if (!search.swappable(a, b)) continue;
    search.swap(a, b);
    const Score now = search.score();
    if (now < best) {
      best = now;
      last = i;
      ++swaps;
    } else {
      search.unswap(a, b);
    }
  }
  if (swaps == 0) return start;
  PlacementPrice end = q.price(search.process_of(), fmt::format("{}; {} swaps", start.name, swaps));
  const double most = start.seconds() * (end.moved < start.moved ? 1 + 1e-9 : 1 - 1e-9);
  return end.seconds() < most ? end : start;
}

}  // namespace banyan::plan
