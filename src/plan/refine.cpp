#include "src/plan/refine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <numeric>
#include <utility>

#include "src/base/rng.hpp"

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

/// A flow seen from nodes: its members are blocks, which is what a node holds at first and another may hold later.
struct BlockFlow {
  std::size_t axis = 0;
  Flow flow;
  /// By level from that of leaves on, by place: members below it.
  std::vector<std::vector<int>> below{};
};

class Search {
 public:
  Search(const PlacementQuestion& q, const PlacementPrice& start)
      : q_(q), loads_(loads_of(q.flows, q.ways, start.process_of)) {
    const std::size_t nodes = q.ways.rates(0).size();
    ranks_of_node_.resize(nodes);
    for (std::size_t r = 0; r < q.fabric.places.size(); ++r)
      ranks_of_node_[at(q.fabric.places[r].node)].push_back(static_cast<int>(r));
    for (std::vector<int>& ranks : ranks_of_node_)
      std::stable_sort(ranks.begin(), ranks.end(), [&](int x, int y) {
        return q.fabric.places[at(x)].local_rank < q.fabric.places[at(y)].local_rank;
      });
    nodes_of_leaf_.resize(q.ways.rates(1).size());
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
    for (std::size_t axis = 0; axis < kMeshAxes; ++axis) find_slowest_node(axis);
  }

  Score score() const {
    Score s{.moved = moved_};
    for (std::size_t axis = 0; axis < kMeshAxes; ++axis) {
      const AxisLoad& load = loads_[axis];
      double most = std::max(load.inside / q_.links.node.rate, slowest_node_[axis]);
      comm::Distance widest = std::min(load.widest, comm::Distance::kLeaf);
      for (std::size_t level = 1; level < load.bytes.size(); ++level)
        for (std::size_t p = 0; p < load.bytes[level].size(); ++p) {
          const double seconds = load.bytes[level][p] / q_.ways.rates(level)[p];
          most = std::max(most, seconds);
          s.squares += seconds * seconds;
          if (load.bytes[level][p] > 0.5) widest = comm::Distance::kAcross;  // sums may be off by their last bits
        }
      s.seconds += most + calls_of(q_.demand, q_.mesh, static_cast<MeshAxis>(axis)) * q_.links.at(widest).latency;
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
    for (int f : only_a_) move(flows_[at(f)], node_a, node_b);
    for (int f : only_b_) move(flows_[at(f)], node_b, node_a);
    std::swap(node_of_[at(a)], node_of_[at(b)]);
    std::swap(block_at_[at(node_a)], block_at_[at(node_b)]);
    for (std::size_t axis = 0; axis < kMeshAxes; ++axis) {
      std::vector<double>& bytes = loads_[axis].bytes[0];
      const bool alike = q_.ways.rates(0)[at(node_a)] == q_.ways.rates(0)[at(node_b)];
      const bool same = bytes[at(node_a)] == bytes[at(node_b)];
      std::swap(bytes[at(node_a)], bytes[at(node_b)]);
      if (!alike && !same) find_slowest_node(axis);
    }
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
    const std::vector<int>& members = flows_[random(2, flows_.size())].flow.members;
    const int a = members[random(3, members.size())], other = members[random(4, members.size())];
    const int leaf = place(1, node_of_[at(other)]);
    if (place(1, node_of_[at(a)]) == leaf) return {any, a};
    const std::vector<int>& nodes = nodes_of_leaf_[at(leaf)];
    const int b = block_at_[at(nodes[random(5, nodes.size())])];
    return {a, std::binary_search(members.begin(), members.end(), b) ? any : b};
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
      for (int i : f.members) blocks.push_back(block_of[at(i)]);
      std::sort(blocks.begin(), blocks.end());
      blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
      if (blocks.size() > 1) merged[{static_cast<std::size_t>(f.axis), std::move(blocks)}] += f.bytes;
    }
    flows_of_.resize(held_.size());
    for (const auto& [key, bytes] : merged) {
      for (int b : key.second) flows_of_[at(b)].push_back(static_cast<int>(flows_.size()));
      BlockFlow& f =
          flows_.emplace_back(BlockFlow{key.first, Flow{static_cast<MeshAxis>(key.first), bytes, key.second}});
      if (f.flow.members.size() <= kFew) continue;
      for (std::size_t level = 1; level < q_.ways.levels(); ++level) {
        f.below.emplace_back(q_.ways.rates(level).size(), 0);
        for (int b : f.flow.members) ++f.below.back()[at(place(level, b))];
      }
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
  void find_slowest_node(std::size_t axis) {
    slowest_node_[axis] = 0;
    for (std::size_t n = 0; n < node_of_.size(); ++n)
      slowest_node_[axis] = std::max(slowest_node_[axis], loads_[axis].bytes[0][n] / q_.ways.rates(0)[n]);
  }
  /// A member of a flow goes from one node to another.
  void move(BlockFlow& f, int from, int to) {
    for (std::size_t level = 1; level < q_.ways.levels(); ++level) {
      const int old = place(level, from), other = place(level, to);
      if (old == other) break;  // the same on all levels above
      std::vector<double>& bytes = loads_[f.axis].bytes[level];
      if (f.below.empty()) {
        // Few members, looked up each time.
        places_.clear();
        for (int b : f.flow.members) places_.push_back(place(level, node_of_[at(b)]));
        carry(f.flow, bytes, -1);
        *std::find(places_.begin(), places_.end(), old) = other;
        carry(f.flow, bytes, 1);
        continue;
      }
      std::vector<int>& below = f.below[level - 1];
      const bool leaves = below[at(old)] == 1, comes = below[at(other)] == 0;
      const auto all = [&](double sign) {
        const auto places =
            static_cast<std::size_t>(std::count_if(below.begin(), below.end(), [](int n) { return n > 0; }));
        for (std::size_t p = 0; p < below.size(); ++p)
          if (below[p] > 0) bytes[p] += sign * f.flow.share(places);
      };
      if (leaves || comes) all(-1);
      --below[at(old)];
      ++below[at(other)];
      if (leaves || comes) all(1);
    }
  }
  /// Adds or takes away what a flow carries through the ways of places_.
  void carry(const Flow& flow, std::vector<double>& bytes, double sign) {
    kinds_ = places_;
    std::sort(kinds_.begin(), kinds_.end());
    kinds_.erase(std::unique(kinds_.begin(), kinds_.end()), kinds_.end());
    for (int p : kinds_) bytes[at(p)] += sign * flow.share(kinds_.size());
  }

  static constexpr std::size_t kFew = 8;  ///< members of a flow that are not counted but looked up

  const PlacementQuestion& q_;
  Loads loads_;
  std::array<double, kMeshAxes> slowest_node_{};  ///< seconds
  std::vector<std::vector<int>> ranks_of_node_;   ///< world ranks
  std::vector<std::vector<int>> held_;            ///< logical ranks of each block
  std::vector<int> node_of_, block_at_;           ///< by block, by node
  std::vector<std::vector<int>> nodes_of_leaf_;
  std::vector<BlockFlow> flows_;
  std::vector<std::vector<int>> flows_of_;  ///< by block, sorted
  std::vector<int> only_a_, only_b_, places_, kinds_;
  int moved_ = 0;
};

}  // namespace

double least_seconds(const PlacementQuestion& q, const PlacementPrice& price) {
  const Loads loads = loads_of(q.flows, q.ways, price.process_of);
  const double fastest = *std::max_element(q.ways.rates(0).begin(), q.ways.rates(0).end());
  double seconds = 0;
  for (std::size_t a = 0; a < kMeshAxes; ++a) {
    double most = loads[a].inside / q.links.node.rate;
    for (double bytes : loads[a].bytes[0]) most = std::max(most, bytes / fastest);
    const comm::Distance least = std::min(loads[a].widest, comm::Distance::kLeaf);
    seconds += most + calls_of(q.demand, q.mesh, static_cast<MeshAxis>(a)) * q.links.at(least).latency;
  }
  return seconds;
}

PlacementPrice refine(const PlacementQuestion& q, const PlacementPrice& start, const RefineOptions& options) {
  Search search(q, start);
  Score best = search.score();
  const std::int64_t tries = options.tries > 0 ? options.tries : 2000 + 40 * static_cast<std::int64_t>(search.blocks());
  const std::uint64_t key = rng::named_key(options.seed, "placement swaps");
  std::int64_t swaps = 0;
  for (std::int64_t i = 0; i < tries && search.blocks() > 1; ++i) {
    const auto [a, b] = search.pair(key, static_cast<std::uint64_t>(i));
    if (!search.swappable(a, b)) continue;
    search.swap(a, b);
    const Score now = search.score();
    if (now < best) {
      best = now;
      ++swaps;
    } else {
      search.swap(a, b);
    }
  }
  return swaps == 0 ? start : q.price(search.process_of(), fmt::format("{}; {} swaps", start.name, swaps));
}

}  // namespace banyan::plan
