#include "src/plan/nesting.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>

#include "src/plan/step_messages.hpp"

namespace banyan::plan {
namespace {

using Factors = std::array<int, kMeshAxes>;

std::size_t at(int i) { return static_cast<std::size_t>(i); }
int product(const Factors& f) { return f[0] * f[1] * f[2]; }

Factors sizes_of(const parallel::MeshShape& mesh) {
  Factors f{};
  f[static_cast<std::size_t>(MeshAxis::kTensor)] = mesh.tensor * mesh.context;
  f[static_cast<std::size_t>(MeshAxis::kPipeline)] = mesh.pipeline;
  f[static_cast<std::size_t>(MeshAxis::kData)] = mesh.data;
  return f;
}

std::vector<int> divisors(int n) {
  std::vector<int> result;
  for (int d = 1; d <= n; ++d)
    if (n % d == 0) result.push_back(d);
  return result;
}

/// World ranks of each leaf, node by node, leaves in the order of the switches above them.
std::vector<std::vector<int>> ranks_by_leaf(const parallel::Fabric& fabric) {
  std::map<int, std::map<int, std::vector<int>>> leaves;
  for (std::size_t r = 0; r < fabric.places.size(); ++r)
    leaves[fabric.places[r].leaf][fabric.places[r].node].push_back(static_cast<int>(r));
  std::vector<std::vector<int>> ranks(at(leaves.empty() ? 0 : leaves.rbegin()->first + 1));
  for (auto& [leaf, nodes] : leaves)
    for (auto& [node, of_node] : nodes) {
      std::stable_sort(of_node.begin(), of_node.end(),
                       [&](int a, int b) { return fabric.places[at(a)].local_rank < fabric.places[at(b)].local_rank; });
      ranks[at(leaf)].insert(ranks[at(leaf)].end(), of_node.begin(), of_node.end());
    }
  return ranks;
}

/// The place of each leaf on a level: itself on level 1, the switches of a tier above.
int place_of_leaf(const parallel::Fabric& fabric, std::size_t level, int leaf) {
  return level == 1 ? leaf : fabric.tiers[level - 2].of_leaf[at(leaf)];
}

/// What is filled with whole units, and what is left over.
struct Pack {
  std::vector<int> whole, rest;
  void take(const Pack& other) {
    whole.insert(whole.end(), other.whole.begin(), other.whole.end());
    rest.insert(rest.end(), other.rest.begin(), other.rest.end());
  }
  /// Whole units of `unit` stay whole; of the others the first make whole ones.
  void settle(int unit) {
    std::vector<int> all = std::move(whole);
    all.insert(all.end(), rest.begin(), rest.end());
    const auto cut = all.begin() + static_cast<std::ptrdiff_t>(all.size() / at(unit) * at(unit));
    rest.assign(cut, all.end());
    all.erase(cut, all.end());
    whole = std::move(all);
  }
};

/// The loads of a nesting as if every unit were a place of its level.  Places that hold the same stages carry the same,
/// so that one of them counts: way first_[level] + j is that of the units of the level with the j-th run of stages.
class Regular {
 public:
  Regular(const PlacementQuestion& q, const Nesting& nesting)
      : q_(q), nesting_(nesting), levels_(nesting.factor.size() - 1) {
    Factors within{1, 1, 1};
    for (std::size_t level = 0; level < levels_; ++level) {
      for (std::size_t a = 0; a < kMeshAxes; ++a) within[a] *= nesting.factor[level][a];
      within_.push_back(within);
      first_.push_back(rates_.size());
      double least = q.ways.rate(level, 0);
      for (std::size_t p = 1; p < q.ways.places(level); ++p)
        least = std::min(least, q.ways.rate(level, static_cast<int>(p)));
      rates_.resize(rates_.size() + at(q.mesh.pipeline / within[kPipeline]), least);
    }
    loads_.fill(AxisLoad(q.mesh.pipeline, rates_.size()));
    for (int s = 0; s < q.mesh.pipeline; ++s) {
      all_reduces(MeshAxis::kTensor, s, q.demand.tensor[at(s)]);
      all_reduces(MeshAxis::kData, s, q.demand.data[at(s)]);
      if (s + 1 < q.mesh.pipeline) stream(MeshAxis::kPipeline, s, s, s + 1, q.demand.pipeline);
      if (s > 0 && s + 1 == q.mesh.pipeline && q.demand.around > 0)
        stream(MeshAxis::kPipeline, s, s, 0, q.demand.around);
    }
    if (q.mesh.pipeline > 1 && q.demand.tied > 0) stream(MeshAxis::kData, 0, 0, q.mesh.pipeline - 1, q.demand.tied);
  }
  double seconds() const {
    const StepMessages m = step_messages(q_.mesh, q_.demand, q_.computing, loads_, rates_, q_.links);
    return m.tensor + m.pipeline + m.data;
  }

 private:
  static constexpr auto kPipeline = static_cast<std::size_t>(MeshAxis::kPipeline);

  std::size_t way(std::size_t level, int stage) const { return first_[level] + at(stage / within_[level][kPipeline]); }
  /// Groups of an axis and a stage with members in a place of a level.
  double groups(std::size_t level, std::size_t axis) const {
    const Factors& w = within_[level];
    return static_cast<double>(product(w)) / w[axis] / w[kPipeline];
  }
  /// All groups of a stage: as GroupTraffic has it, with as many parts in every place of a level.
  void all_reduces(MeshAxis which, int stage, double bytes) {
    const auto axis = static_cast<std::size_t>(which);
    AxisLoad& load = loads_[axis];
    const auto parts = [&](std::size_t level) { return static_cast<double>(nesting_.factor[level][axis]); };
    const double inside = sent_by_part(bytes, parts(0));
    double phases = inside / q_.links.node.rate, latency = parts(0) > 1 ? q_.links.node.latency : 0;
    std::vector<double> share(levels_, 1.0);
    for (std::size_t level = 1; level <= levels_; ++level) {
      const double sent = sent_by_part(bytes, parts(level));
      if (sent <= 0) continue;
      double slowest = 0;
      for (std::size_t below = 0; below < level; ++below) {
        const double carried = sent * share[below] * groups(below, axis);
        load.bytes[way(below, stage) * at(q_.mesh.pipeline) + at(stage)] += carried;
        slowest = std::max(slowest, carried / rates_[first_[below]]);
        share[below] /= parts(level);
      }
      phases += slowest;
      latency += level == 1 ? q_.links.leaf.latency : q_.links.across.latency;
    }
    note(load, stage, inside, phases, 2 * latency);
  }
  /// Between two stages, of all their ranks.
  void stream(MeshAxis axis, int of, int from, int to, double bytes) {
    AxisLoad& load = loads_[static_cast<std::size_t>(axis)];
    std::size_t level = 0;
    double slowest = 0;
    for (; level < levels_ && way(level, from) != way(level, to); ++level)
      for (const int end : {from, to}) {
        const Factors& w = within_[level];
        const double carried = bytes * static_cast<double>(product(w)) / w[kPipeline];
        load.bytes[way(level, end) * at(q_.mesh.pipeline) + at(of)] += carried;
        slowest = std::max(slowest, carried / rates_[first_[level]]);
      }
    const comm::Distance d = level == 0   ? comm::Distance::kNode
                             : level == 1 ? comm::Distance::kLeaf
                                          : comm::Distance::kAcross;
    note(load, of, level == 0 ? bytes : 0, level == 0 ? bytes / q_.links.node.rate : slowest,
         q_.links.at(d).latency * (axis == MeshAxis::kPipeline ? 1 : 2));
  }
  static void note(AxisLoad& load, int stage, double inside, double phases, double latency) {
    load.inside[at(stage)] = std::max(load.inside[at(stage)], inside);
    load.phases[at(stage)] = std::max(load.phases[at(stage)], phases);
    load.latency[at(stage)] = std::max(load.latency[at(stage)], latency);
  }

  const PlacementQuestion& q_;
  const Nesting& nesting_;
  const std::size_t levels_;
  std::vector<Factors> within_;
  std::vector<std::size_t> first_;
  std::vector<double> rates_;
  Loads loads_;
};

}  // namespace

std::string Nesting::str() const {
  std::string text;
  for (std::size_t level = 0; level < factor.size(); ++level) {
    std::string here;
    for (std::size_t axis = 0; axis < kMeshAxes; ++axis)
      if (factor[level][axis] > 1)
        here += fmt::format("{}{} {}", here.empty() ? "" : ", ", kMeshAxisNames[axis], factor[level][axis]);
    if (here.empty()) continue;
    const std::string where = level + 1 == factor.size() ? "across"
                              : level == 0               ? "in a node"
                              : level == 1               ? "in a leaf"
                                                         : fmt::format("in level {}", level + 1);
    text += (text.empty() ? "" : "; ") + where + " " + here;
  }
  return text;
}

std::vector<Nesting> nestings(const parallel::MeshShape& mesh, const std::vector<int>& units) {
  std::vector<Nesting> all;
  Nesting nesting;
  const std::function<void(Factors)> divide = [&](Factors left) {
    const std::size_t level = nesting.factor.size();
    if (level == units.size()) {
      nesting.factor.push_back(left);
      all.push_back(nesting);
      nesting.factor.pop_back();
      return;
    }
    if (product(left) % units[level] != 0) return;
    for (int tensor : divisors(std::gcd(left[0], units[level])))
      for (int pipeline : divisors(std::gcd(left[1], units[level] / tensor))) {
        const int data = units[level] / tensor / pipeline;
        if (left[2] % data != 0) continue;
        nesting.factor.push_back({tensor, pipeline, data});
        divide({left[0] / tensor, left[1] / pipeline, left[2] / data});
        nesting.factor.pop_back();
      }
  };
  divide(sizes_of(mesh));
  return all;
}

std::vector<std::vector<int>> unit_sizes(const parallel::MeshShape& mesh, const parallel::Fabric& fabric) {
  // Ranks of the places of each level.
  std::vector<std::map<int, int>> counts(2 + fabric.tiers.size());
  for (const parallel::Fabric::Place& p : fabric.places) {
    ++counts[0][p.node];
    for (std::size_t level = 1; level < counts.size(); ++level) ++counts[level][place_of_leaf(fabric, level, p.leaf)];
  }
  int node = mesh.size();
  for (const auto& [place, count] : counts[0]) node = std::gcd(node, count);
  std::vector<std::vector<int>> lists{{node}};
  for (std::size_t level = 1; level < counts.size(); ++level) {
    std::vector<std::vector<int>> longer;
    for (const std::vector<int>& list : lists) {
      int unit = 1, most = 0, least = mesh.size();
      for (int u : list) unit *= u;
      for (const auto& [place, count] : counts[level]) {
        most = std::max(most, count / unit);
        least = std::min(least, count / unit);
      }
      std::vector<int> fitting;
      for (int d : divisors(mesh.size() / unit))
        if (d <= std::max(1, most)) fitting.push_back(d);
      // Places alike and filled: smaller units are only other names for the same orders.
      if (most == least && fitting.back() == most) fitting = {most};
      for (int u : fitting) {
        longer.push_back(list);
        longer.back().push_back(u);
      }
    }
    lists = std::move(longer);
  }
  return lists;
}

std::vector<int> packed_slots(const parallel::Fabric& fabric, const std::vector<int>& units) {
  const std::vector<std::vector<int>> leaves = ranks_by_leaf(fabric);
  std::map<int, Pack> packs;
  int unit = units[0];
  for (std::size_t level = 1; level < units.size(); ++level) {
    unit *= units[level];
    std::map<int, Pack> wider;
    if (level == 1)
      for (std::size_t leaf = 0; leaf < leaves.size(); ++leaf) wider[static_cast<int>(leaf)].rest = leaves[leaf];
    else
      for (const auto& [below, pack] : packs) {
        // A place of the level below is that of any of its leaves.
        int leaf = 0;
        while (place_of_leaf(fabric, level - 1, leaf) != below) ++leaf;
        wider[place_of_leaf(fabric, level, leaf)].take(pack);
      }
    for (auto& [place, pack] : wider) pack.settle(unit);
    packs = std::move(wider);
  }
  Pack all;
  for (const auto& [place, pack] : packs) all.take(pack);
  all.whole.insert(all.whole.end(), all.rest.begin(), all.rest.end());
  return all.whole;
}

std::vector<int> lay_out(const parallel::MeshShape& mesh, const Nesting& nesting, const std::vector<int>& slots) {
  const Factors sizes = sizes_of(mesh);
  std::vector<int> process_of;
  process_of.reserve(at(mesh.size()));
  for (int p = 0; p < mesh.pipeline; ++p)
    for (int d = 0; d < mesh.data; ++d)
      for (int t = 0; t < sizes[0]; ++t) {
        Factors left{t, p, d};
        int slot = 0, stride = 1;
        for (const Factors& f : nesting.factor)
          for (std::size_t axis = 0; axis < kMeshAxes; ++axis) {
            slot += left[axis] % f[axis] * stride;
            left[axis] /= f[axis];
            stride *= f[axis];
          }
        process_of.push_back(slots[at(slot)]);
      }
  return process_of;
}

double estimate(const PlacementQuestion& q, const Nesting& nesting) { return Regular(q, nesting).seconds(); }

}  // namespace banyan::plan
