#include "src/plan/nesting.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>

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

double estimate(const PlacementQuestion& q, const Nesting& nesting) {
  const Factors sizes = sizes_of(q.mesh);
  const auto axis = [](MeshAxis a) { return static_cast<std::size_t>(a); };
  const std::size_t levels = nesting.factor.size() - 1;
  std::array<double, kMeshAxes> slowest{};
  std::array<comm::Distance, kMeshAxes> widest{};
  const double dearest = *std::max_element(q.demand.data.begin(), q.demand.data.end());
  const double tensor = *std::max_element(q.demand.tensor.begin(), q.demand.tensor.end());
  Factors within{1, 1, 1};
  for (std::size_t level = 0; level < levels; ++level) {
    for (std::size_t a = 0; a < kMeshAxes; ++a) within[a] *= nesting.factor[level][a];
    const std::vector<double>& rates = q.ways.rates(level);
    const double rate = *std::min_element(rates.begin(), rates.end());
    const auto carry = [&](MeshAxis a, double bytes) {
      if (bytes <= 0) return;
      slowest[axis(a)] = std::max(slowest[axis(a)], bytes / rate);
      widest[axis(a)] = level == 0 ? comm::Distance::kLeaf : comm::Distance::kAcross;
    };
    const auto all_reduce = [&](MeshAxis a, double bytes) {
      const double places = static_cast<double>(sizes[axis(a)]) / within[axis(a)];
      const double groups = static_cast<double>(product(within)) / within[axis(a)];
      return 2 * bytes * (places - 1) / places * groups;
    };
    carry(MeshAxis::kTensor, all_reduce(MeshAxis::kTensor, tensor));
    const double runs = static_cast<double>(sizes[1]) / within[1];
    const double columns = static_cast<double>(within[0]) * within[2];
    carry(MeshAxis::kPipeline, std::min(2.0, runs - 1) * q.demand.pipeline * columns);
    carry(MeshAxis::kData, all_reduce(MeshAxis::kData, dearest) + (runs > 1 ? q.demand.tied * columns : 0));
  }
  double seconds = 0;
  for (std::size_t a = 0; a < kMeshAxes; ++a) {
    // Inside a node as link_load.hpp: one group after the other is not waited for.
    const double groups_inside = nesting.factor[0][a];
    const double bytes = a == axis(MeshAxis::kTensor)     ? 2 * tensor * (sizes[a] - 1) / sizes[a]
                         : a == axis(MeshAxis::kPipeline) ? q.demand.pipeline
                                                          : 2 * dearest * (sizes[a] - 1) / sizes[a];
    if (groups_inside > 1) slowest[a] = std::max(slowest[a], bytes / q.links.node.rate);
    seconds += slowest[a] + calls_of(q.demand, q.mesh, static_cast<MeshAxis>(a)) * q.links.at(widest[a]).latency;
  }
  return seconds;
}

}  // namespace banyan::plan
