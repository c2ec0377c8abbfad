#include "sim/draw.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <string>
#include <utility>

#include "src/base/rng.hpp"
#include "src/plan/placement_choice.hpp"

namespace banyan::sim {
namespace {

/// Draws that may give what is there already before it is given up; small jobs have few orders.
constexpr int kFruitless = 100;

std::size_t at(int i) { return static_cast<std::size_t>(i); }

/// 0 .. count-1 in an order that depends on the key only.
std::vector<int> shuffled(int count, std::uint64_t key) {
  std::vector<int> order(at(count));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return rng::mix(key, static_cast<std::uint64_t>(a)) < rng::mix(key, static_cast<std::uint64_t>(b));
  });
  return order;
}

/// For every rank the rank of the same number on the node that takes its node's place.  Nodes with as many ranks change
/// places among each other.
std::vector<int> with_nodes_shuffled(const parallel::Fabric& fabric, std::uint64_t key) {
  std::map<int, std::vector<int>> ranks_of;
  for (int r = 0; r < fabric.size(); ++r) ranks_of[fabric.places[at(r)].node].push_back(r);
  std::map<std::size_t, std::vector<int>> nodes_of_size;
  for (const auto& [node, ranks] : ranks_of) nodes_of_size[ranks.size()].push_back(node);
  std::vector<int> other(at(fabric.size()));
  for (const auto& [size, nodes] : nodes_of_size) {
    const std::vector<int> order = shuffled(static_cast<int>(nodes.size()), rng::mix(key, size));
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const std::vector<int>&from = ranks_of[nodes[i]], &to = ranks_of[nodes[at(order[i])]];
      for (std::size_t k = 0; k < size; ++k) other[at(from[k])] = to[k];
    }
  }
  return other;
}

}  // namespace

std::vector<plan::PlacementPrice> draw_placements(const plan::PlacementQuestion& question, int count,
                                                  std::uint64_t seed) {
  const parallel::Fabric& fabric = question.fabric;
  std::vector<plan::PlacementPrice> candidates = plan::placements(question), drawn{candidates.at(0)};
  const auto add = [&](plan::PlacementPrice p) {
    if (std::any_of(drawn.begin(), drawn.end(), [&](const auto& d) { return d.process_of == p.process_of; }))
      return false;
    drawn.push_back(std::move(p));
    return true;
  };

  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const auto& a, const auto& b) { return a.seconds() < b.seconds(); });
  const int wanted = std::min(static_cast<int>(candidates.size()), count / 2);
  for (int i = 0; i < wanted && static_cast<int>(drawn.size()) < count; ++i)
    add(candidates[wanted == 1 ? 0 : at(i) * (candidates.size() - 1) / at(wanted - 1)]);

  const std::uint64_t key = rng::named_key(seed, "placements to play");
  int fruitless = 0;
  for (int draw = 0; static_cast<int>(drawn.size()) < count && fruitless < kFruitless; ++draw) {
    const std::uint64_t own = rng::mix(key, static_cast<std::uint64_t>(draw));
    std::vector<int> process_of;
    std::string name;
    if (draw % 4 == 3) {
      const std::vector<int> order = shuffled(fabric.size(), own);
      process_of.assign(order.begin(), order.begin() + question.mesh.size());
      name = fmt::format("ranks in random order {}", draw);
    } else {
      const auto& candidate = candidates[rng::mix(own) % candidates.size()];
      const std::vector<int> other = with_nodes_shuffled(fabric, own);
      for (int r : candidate.process_of) process_of.push_back(other[at(r)]);
      name = fmt::format("random nodes {}, {}", draw, candidate.name);
    }
    const bool fresh = add(question.price(std::move(process_of), std::move(name)));
    fruitless = fresh ? 0 : fruitless + 1;
  }
  return drawn;
}

}  // namespace banyan::sim
