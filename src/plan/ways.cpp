#include "src/plan/ways.hpp"

#include <algorithm>
#include <numeric>

namespace banyan::plan {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

}  // namespace

Ways::Ways(const parallel::Fabric& fabric, const comm::Links& links) : links_(links), first_{0} {
  const auto add = [&](auto place_of, const std::vector<double>& known, double usual) {
    std::vector<int> of_rank;
    int places = 0;
    for (const parallel::Fabric::Place& p : fabric.places) {
      of_rank.push_back(place_of(p));
      places = std::max(places, of_rank.back() + 1);
    }
    for (std::size_t i = 0; i < at(places); ++i) rates_.push_back(i < known.size() && known[i] > 0 ? known[i] : usual);
    of_rank_.push_back(std::move(of_rank));
    first_.push_back(rates_.size());
  };
  using Place = parallel::Fabric::Place;
  add([](const Place& p) { return p.node; }, fabric.node_rate, links.leaf.rate);
  add([](const Place& p) { return p.leaf; }, fabric.leaf_rate, links.across.rate);
  for (const parallel::Fabric::Tier& tier : fabric.tiers) {
    // Where nothing tells, a switch passes on all that its leaves can send: no narrower place than those.
    std::vector<int> leaves(at(1 + *std::max_element(tier.of_leaf.begin(), tier.of_leaf.end())), 0);
    for (int s : tier.of_leaf) ++leaves[at(s)];
    std::vector<double> known = tier.rate;
    known.resize(leaves.size());
    for (std::size_t s = 0; s < leaves.size(); ++s)
      if (known[s] <= 0) known[s] = leaves[s] * links.across.rate;
    add([&](const Place& p) { return tier.of_leaf[at(p.leaf)]; }, known, links.across.rate);
  }

  const std::size_t nodes = places(0);
  of_node_.assign(levels(), std::vector<int>(nodes, 0));
  for (std::size_t r = 0; r < fabric.places.size(); ++r)
    for (std::size_t level = 0; level < levels(); ++level)
      of_node_[level][at(fabric.places[r].node)] = of_rank_[level][r];
  std::vector<int> nodes_in_order(nodes);
  std::iota(nodes_in_order.begin(), nodes_in_order.end(), 0);
  std::sort(nodes_in_order.begin(), nodes_in_order.end(), [&](int a, int b) {
    for (std::size_t level = levels(); level-- > 0;)
      if (of_node_[level][at(a)] != of_node_[level][at(b)]) return of_node_[level][at(a)] < of_node_[level][at(b)];
    return false;
  });
  order_.resize(nodes);
  for (std::size_t i = 0; i < nodes; ++i) order_[at(nodes_in_order[i])] = static_cast<int>(i);

  order_of_leaf_.assign(nodes, 0);
  for (std::size_t i = 1; i < nodes; ++i) {
    const std::size_t n = at(nodes_in_order[i]), before = at(nodes_in_order[i - 1]);
    order_of_leaf_[n] = order_of_leaf_[before] + (of_node_[1][n] != of_node_[1][before]);
  }

  cable_of_node_.assign(nodes, -1);
  cable_number_.assign(nodes, -1);
  first_cable_.assign(places(1), -1);
  cables_.assign(places(1), 1);
  for (std::size_t leaf = 0; leaf < std::min(places(1), fabric.cables.size()); ++leaf) {
    const int cables = fabric.cables[leaf], first = static_cast<int>(rates_.size());
    bool fixed = false;
    for (std::size_t n = 0; n < std::min(nodes, fabric.cable.size()); ++n) {
      if (cables < 2 || fabric.cable[n] < 0 || of_node_[1][n] != static_cast<int>(leaf)) continue;
      cable_of_node_[n] = first + fabric.cable[n];
      cable_number_[n] = fabric.cable[n];
      fixed = true;
    }
    if (!fixed) continue;
    first_cable_[leaf] = first;
    cables_[leaf] = cables;
    rates_.insert(rates_.end(), at(2 * cables), rates_[way(1, static_cast<int>(leaf))] / cables);
  }
}

}  // namespace banyan::plan
