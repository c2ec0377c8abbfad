#include "src/plan/placement_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <sstream>

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

std::string placement_table(const PlacementQuestion& question, const PlacementPrice& chosen) {
  std::vector<PlacementPrice> all = placements(question);
  if (std::none_of(all.begin(), all.end(), [&](const PlacementPrice& p) { return p.process_of == chosen.process_of; }))
    all.push_back(chosen);
  std::vector<PlacementPrice> random;
  for (int draw = 0; draw < kRandomOrders; ++draw) {
    std::vector<int> rank_of;
    std::vector<int> order = parallel::place(question.mesh, shuffled(question.fabric, draw, rank_of));
    for (int& rank : order) rank = rank_of[at(rank)];
    random.push_back(
        question.price(std::move(order), fmt::format("nodes in random order, median of {}", kRandomOrders)));
  }
  const auto cheaper = [](const PlacementPrice& a, const PlacementPrice& b) { return a.seconds() < b.seconds(); };
  std::stable_sort(random.begin(), random.end(), cheaper);
  PlacementPrice median = random[kRandomOrders / 2];
  median.process_of.clear();  // stands for others, is not one that could be chosen
  all.push_back(std::move(median));
  std::stable_sort(all.begin(), all.end(), cheaper);
  std::string text = fmt::format("  {:<44} {:>9} {:>9} {:>9} {:>9}\n", "messages of a step, predicted", "all", "tensor",
                                 "pipeline", "data");
  for (const PlacementPrice& p : all) text += line(p, p.process_of == chosen.process_of);
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

std::vector<int> nodes_of_hosts(const std::string& text, int mesh, const std::vector<std::string>& hosts,
                                const parallel::Fabric& fabric) {
  std::map<std::string, int> node_of;
  for (std::size_t r = 0; r < hosts.size(); ++r) node_of.emplace(hosts[r], fabric.places[r].node);
  std::vector<int> nodes;
  std::istringstream lines(text);
  for (std::string host; static_cast<int>(nodes.size()) < mesh && std::getline(lines, host);) {
    const auto found = node_of.find(host);
    nodes.push_back(found == node_of.end() ? -1 : found->second);
  }
  return static_cast<int>(nodes.size()) == mesh ? nodes : std::vector<int>{};
}

}  // namespace banyan::plan
