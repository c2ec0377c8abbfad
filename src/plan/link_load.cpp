#include "src/plan/link_load.hpp"

#include <algorithm>
#include <utility>

namespace banyan::plan {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

}  // namespace

Ways::Ways(const parallel::Fabric& fabric, const comm::Links& links) {
  const auto add = [&](auto place_of, const std::vector<double>& known, double usual) {
    std::vector<int> of_rank;
    int places = 0;
    for (const parallel::Fabric::Place& p : fabric.places) {
      of_rank.push_back(place_of(p));
      places = std::max(places, of_rank.back() + 1);
    }
    std::vector<double> rate(at(places), usual);
    for (std::size_t i = 0; i < std::min(rate.size(), known.size()); ++i)
      if (known[i] > 0) rate[i] = known[i];
    of_rank_.push_back(std::move(of_rank));
    rate_.push_back(std::move(rate));
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
}

double AxisLoad::seconds(const Ways& ways, const comm::Links& links, double calls) const {
  double most = inside / links.node.rate;
  for (std::size_t level = 0; level < bytes.size(); ++level)
    for (std::size_t p = 0; p < bytes[level].size(); ++p) most = std::max(most, bytes[level][p] / ways.rates(level)[p]);
  return calls * links.at(widest).latency + most;
}

Loads loads_of(const std::vector<Flow>& flows, const Ways& ways, const std::vector<int>& process_of) {
  Loads loads;
  for (AxisLoad& axis : loads)
    for (std::size_t level = 0; level < ways.levels(); ++level) axis.bytes.emplace_back(ways.rates(level).size(), 0.0);
  std::vector<int> places;
  for (const Flow& flow : flows) {
    AxisLoad& axis = loads[static_cast<std::size_t>(flow.axis)];
    for (std::size_t level = 0; level < ways.levels(); ++level) {
      places.clear();
      for (int r : flow.members) places.push_back(ways.place(level, process_of[at(r)]));
      std::sort(places.begin(), places.end());
      places.erase(std::unique(places.begin(), places.end()), places.end());
      if (level == 0 && places.size() < flow.members.size())
        axis.inside = std::max(axis.inside, flow.share(flow.members.size()));
      if (places.size() < 2) break;  // the same place on all levels above
      for (int p : places) axis.bytes[level][at(p)] += flow.share(places.size());
      axis.widest = std::max(axis.widest, level == 0 ? comm::Distance::kLeaf : comm::Distance::kAcross);
    }
  }
  return loads;
}

PlacementQuestion::PlacementQuestion(const Layout& layout, const parallel::Fabric& f, const comm::Links& l)
    : mesh(layout.mesh),
      demand(demand_of(layout)),
      flows(flows_of(layout.mesh, demand)),
      fabric(f),
      links(l),
      ways(f, l) {}

PlacementPrice PlacementQuestion::price(std::vector<int> process_of, std::string name) const {
  const Loads loads = loads_of(flows, ways, process_of);
  const auto seconds = [&](MeshAxis axis) {
    return loads[static_cast<std::size_t>(axis)].seconds(ways, links, calls_of(demand, mesh, axis));
  };
  int moved = 0;
  for (std::size_t i = 0; i < before.size(); ++i) moved += ways.place(0, process_of[i]) != before[i];
  return {.name = std::move(name),
          .process_of = std::move(process_of),
          .tensor = seconds(MeshAxis::kTensor),
          .pipeline = seconds(MeshAxis::kPipeline),
          .data = seconds(MeshAxis::kData),
          .moved = moved};
}

}  // namespace banyan::plan
