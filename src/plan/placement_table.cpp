#include "src/plan/placement_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "src/base/rng.hpp"
#include "src/base/units.hpp"

namespace banyan::plan {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

/// World ranks node by node, nodes in the `draw`-th random order.
parallel::Fabric shuffled(const parallel::Fabric& fabric, int draw, std::vector<int>& rank_of) {
  const auto key = [&](int r) {
    const auto node = static_cast<std::uint64_t>(fabric.places[at(r)].node);
    return rng::mix(rng::named_key(static_cast<std::uint64_t>(draw), "placement"), node);
  };
  rank_of.resize(fabric.places.size());
  std::iota(rank_of.begin(), rank_of.end(), 0);
  std::stable_sort(rank_of.begin(), rank_of.end(), [&](int a, int b) { return key(a) < key(b); });
  parallel::Fabric other = fabric;
  for (std::size_t i = 0; i < rank_of.size(); ++i) other.places[i] = fabric.places[at(rank_of[i])];
  return other;
}

std::string line(const PlacementPrice& p, bool chosen) {
  return fmt::format("  {:<44} {:>9} {:>9} {:>9} {:>9}{}\n", p.name, format_seconds(p.seconds()),
                     format_seconds(p.tensor), format_seconds(p.pipeline), format_seconds(p.data),
                     chosen ? "  <- chosen" : "");
}

}  // namespace

std::string placement_table(const Layout& layout, const parallel::Fabric& fabric, const comm::Links& links,
                            const std::vector<int>& chosen) {
  std::vector<PlacementPrice> all = placements(layout, fabric, links);
  const Demand demand = demand_of(layout);
  if (std::none_of(all.begin(), all.end(), [&](const PlacementPrice& p) { return p.process_of == chosen; }))
    all.push_back(price_placement(layout, demand, fabric, links, chosen, "as asked for"));
  std::vector<PlacementPrice> random;
  for (int draw = 0; draw < kRandomOrders; ++draw) {
    std::vector<int> rank_of;
    std::vector<int> order = parallel::place(layout.mesh, shuffled(fabric, draw, rank_of));
    for (int& rank : order) rank = rank_of[at(rank)];
    random.push_back(price_placement(layout, demand, fabric, links, std::move(order),
                                     fmt::format("nodes in random order, median of {}", kRandomOrders)));
  }
  const auto cheaper = [](const PlacementPrice& a, const PlacementPrice& b) { return a.seconds() < b.seconds(); };
  std::stable_sort(random.begin(), random.end(), cheaper);
  PlacementPrice median = random[kRandomOrders / 2];
  median.process_of.clear();  // stands for others, is not one that could be chosen
  all.push_back(std::move(median));
  std::stable_sort(all.begin(), all.end(), cheaper);
  std::string text = fmt::format("  {:<44} {:>9} {:>9} {:>9} {:>9}\n", "messages of a step, predicted", "all", "tensor",
                                 "pipeline", "data");
  for (const PlacementPrice& p : all) text += line(p, p.process_of == chosen);
  return text;
}

std::string host_file(const std::vector<int>& process_of, const std::vector<std::string>& hosts) {
  std::string text;
  std::vector<char> used(hosts.size(), 0);
  const auto put = [&](std::size_t rank) {
    used[rank] = 1;
    text += hosts[rank] + "\n";
  };
  for (int rank : process_of) put(at(rank));
  for (std::size_t rank = 0; rank < hosts.size(); ++rank)
    if (!used[rank]) put(rank);
  return text;
}

}  // namespace banyan::plan
