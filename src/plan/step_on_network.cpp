#include "src/plan/step_on_network.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "src/base/json.hpp"
#include "src/base/units.hpp"
#include "src/parallel/mesh.hpp"

namespace banyan::plan {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

template <class T>
void put(std::vector<T>& of, int place, T value) {
  of.resize(std::max(of.size(), at(place) + 1));
  of[at(place)] = value;
}

/// "0-3,7"
std::string ranges(const std::set<int>& numbers) {
  std::string text;
  for (auto i = numbers.begin(); i != numbers.end();) {
    auto end = std::next(i);
    int last = *i;
    while (end != numbers.end() && *end == last + 1) last = *end++;
    text += fmt::format("{}{}", text.empty() ? "" : ",", *i);
    if (last > *i) text += fmt::format("-{}", last);
    i = end;
  }
  return text;
}

double total(const WayLoad& way) { return std::accumulate(way.bytes.begin(), way.bytes.end(), 0.0); }

std::string name_of(const comm::Fabric& network, const WayLoad& way) {
  const comm::Link& l = network.links[at(way.link)];
  return fmt::format(
      "{} to {}", l.below == comm::Link::Below::kHost ? network.hosts[at(l.lower)] : network.switches[at(l.lower)].name,
      network.switches[at(l.upper)].name);
}

/// Which parts of the mesh the ranks of a leaf hold, and how many of the groups that have a member there lie there
/// whole.
void seat(LeafSeats& seats, const PlacementQuestion& q, const parallel::Mesh& mesh, const std::vector<int>& logical_of,
          const std::string& name, int leaf) {
  std::array<std::set<int>, kMeshAxes> coordinates;
  std::array<std::set<std::vector<int>>, kMeshAxes> groups;
  std::set<int> nodes;
  int ranks = 0, idle = 0;
  for (int r = 0; r < q.fabric.size(); ++r) {
    if (q.ways.place(1, r) != leaf) continue;
    nodes.insert(q.ways.place(0, r));
    ++ranks;
    const int logical = logical_of[at(r)];
    if (logical < 0) {
      ++idle;
      continue;
    }
    const parallel::Coordinate c = mesh.coordinate(logical);
    const std::array of{c.tensor, c.pipeline, c.data};
    const std::array members{mesh.tensor_group(c), mesh.pipeline_group(c), mesh.data_group(c)};
    for (std::size_t a = 0; a < kMeshAxes; ++a) {
      coordinates[a].insert(of[a]);
      groups[a].insert(members[a]);
    }
  }
  std::string whole;
  for (std::size_t a = 0; a < kMeshAxes && idle < ranks; ++a) {
    seats.holds += fmt::format("{}{} {}", a == 0 ? "" : ", ", kMeshAxisNames[a], ranges(coordinates[a]));
    if (groups[a].begin()->size() < 2) continue;
    const auto inside = std::count_if(groups[a].begin(), groups[a].end(), [&](const std::vector<int>& g) {
      return std::all_of(g.begin(), g.end(), [&](int r) { return q.ways.place(1, r) == leaf; });
    });
    whole += fmt::format("{} {} {} of {}", whole.empty() ? "; whole groups:" : ",", kMeshAxisNames[a], inside,
                         groups[a].size());
  }
  seats.report = fmt::format("{}: {} host{}, {} rank{}", name, nodes.size(), nodes.size() == 1 ? "" : "s", ranks,
                             ranks == 1 ? "" : "s");
  if (idle > 0) seats.report += fmt::format(" ({} idle)", idle);
  if (!seats.holds.empty()) seats.report += ": " + seats.holds + whole;
}

}  // namespace

parallel::Fabric fabric_on(const comm::Fabric& network, const std::vector<std::string>& hosts) {
  const comm::GroupTree tree = comm::tree_of(network, hosts);
  const std::vector<comm::HostRates> rates = comm::rates_of(network, hosts);
  parallel::Fabric fabric;
  std::vector<int> on_node;
  for (std::size_t r = 0; r < hosts.size(); ++r) {
    const int node = tree.levels[0][r], leaf = tree.levels.size() > 1 ? tree.levels[1][r] : 0;
    on_node.resize(std::max(on_node.size(), at(node) + 1));
    fabric.places.push_back({node, on_node[at(node)]++, leaf});
    put(fabric.node_rate, node, rates[r].host);
    put(fabric.leaf_rate, leaf, rates[r].leaf);
    put(fabric.cable, node, rates[r].cable);
    put(fabric.cables, leaf, rates[r].cables);
  }
  for (std::size_t level = 2; level < tree.levels.size(); ++level) {
    parallel::Fabric::Tier tier;
    for (std::size_t r = 0; r < hosts.size(); ++r) {
      const int leaf = fabric.places[r].leaf, above = tree.levels[level][r];
      tier.of_leaf.resize(std::max(tier.of_leaf.size(), at(leaf) + 1));
      tier.of_leaf[at(leaf)] = above;
      put(tier.rate, above, level - 2 < rates[r].above.size() ? rates[r].above[level - 2] : 0);
    }
    if (*std::max_element(tier.of_leaf.begin(), tier.of_leaf.end()) > 0) fabric.tiers.push_back(std::move(tier));
  }
  return fabric;
}

StepOnNetwork load_network(const PlacementQuestion& q, const comm::Fabric& network,
                           const std::vector<std::string>& hosts, const PlacementPrice& price) {
  StepOnNetwork step{.price = price, .ways = {}, .limits = {}, .leaves = {}};
  const Loads loads = q.loads(price.process_of);
  const comm::UpLinks up = comm::up_links(network);
  const std::vector<int> numbers = comm::numbers_of(network, hosts);
  std::vector<std::size_t> first_way;
  std::vector<std::string> leaf_names(q.ways.places(1));
  step.leaves.resize(leaf_names.size());
  for (std::size_t level = 0; level < q.ways.levels(); ++level) {
    first_way.push_back(step.ways.size());
    step.ways.resize(step.ways.size() + q.ways.places(level));
    for (int r = 0; r < q.fabric.size(); ++r) {
      int link = up.of_host[at(numbers[at(r)])];
      if (level == 1) {
        const auto leaf = at(q.ways.place(1, r));
        step.leaves[leaf].leaf = link < 0 ? -1 : network.links[at(link)].upper;
        leaf_names[leaf] = link < 0 ? hosts[at(r)] : network.switches[at(step.leaves[leaf].leaf)].name;
      }
      for (std::size_t l = 0; l < level && link >= 0; ++l) link = up.of_switch[at(network.links[at(link)].upper)];
      const int place = q.ways.place(level, r);
      WayLoad& way = step.ways[first_way[level] + at(place)];
      way = {.link = link, .rate = q.ways.rate(level, place)};
      for (std::size_t a = 0; a < kMeshAxes; ++a) way.bytes[a] = loads[a].carried(q.ways.way(level, place));
    }
  }
  double tensor_calls = 0;
  for (const Calls& c : q.demand.tensor_calls) tensor_calls = std::max(tensor_calls, c.total());
  const std::array calls{tensor_calls, q.demand.microbatches * q.demand.chunks * (q.demand.trains ? 2 : 1), 1.0};
  const std::array seconds{price.tensor, price.pipeline, price.data};
  for (std::size_t a = 0; a < kMeshAxes; ++a) {
    AxisLimit& limit = step.limits[a];
    limit.seconds = seconds[a];
    const AxisLoad& load = loads[a];
    double latency = 0, most = 0;
    for (int s = 0; s < q.mesh.pipeline; ++s) {
      latency = std::max(latency, load.latency[at(s)] * calls[a]);
      most = std::max(most, load.inside[at(s)] / q.links.node.rate);
    }
    if (most > 0) limit.why = "inside nodes";
    for (std::size_t w = 0; w < step.ways.size(); ++w)
      if (step.ways[w].link >= 0 && step.ways[w].bytes[a] / step.ways[w].rate > most) {
        most = step.ways[w].bytes[a] / step.ways[w].rate;
        limit.way = static_cast<int>(w);
        limit.why = fmt::format("{} carries {} at {}", name_of(network, step.ways[w]),
                                format_bytes(step.ways[w].bytes[a]), format_rate(step.ways[w].rate));
      }
    // Where routes are fixed, one cable of a way may be full while others are not.
    for (int n = 0; n < static_cast<int>(q.ways.places(0)); ++n) {
      if (q.ways.cable(n) < 0) continue;
      const std::size_t cable = at(q.ways.cable(n)), leaf = first_way[1] + at(q.ways.place_of_node(1, n));
      const double bytes = load.carried(cable), rate = q.ways.rates()[cable];
      if (step.ways[leaf].link < 0 || bytes / rate <= most * (1 + 1e-9)) continue;
      most = bytes / rate;
      limit.way = static_cast<int>(leaf);
      limit.why = fmt::format("a cable of {} carries {} at {}", name_of(network, step.ways[leaf]), format_bytes(bytes),
                              format_rate(rate));
    }
    if (latency <= most) continue;
    limit.way = -1;
    limit.why = fmt::format("{:.0f} messages one after the other", calls[a]);
  }
  const parallel::Mesh mesh(q.mesh, price.process_of);
  std::vector<int> logical_of(at(q.fabric.size()), -1);
  for (int i = 0; i < q.mesh.size(); ++i) logical_of[at(price.process_of[at(i)])] = i;
  for (std::size_t leaf = 0; leaf < leaf_names.size(); ++leaf)
    seat(step.leaves[leaf], q, mesh, logical_of, leaf_names[leaf], static_cast<int>(leaf));
  double most = 0;
  for (std::size_t w = 0; w < step.ways.size(); ++w)
    if (step.ways[w].link >= 0 && seconds_of(step.ways[w]) > most) {
      most = seconds_of(step.ways[w]);
      step.busiest = static_cast<int>(w);
    }
  return step;
}

double seconds_of(const WayLoad& way) { return total(way) / way.rate; }

std::string report(const StepOnNetwork& step, const parallel::MeshShape& mesh, const comm::Fabric& network) {
  std::string text = fmt::format("a step on {}, placed: {}\nmessages of a step, predicted: {}\n", mesh.str(),
                                 step.price.name, format_seconds(step.price.seconds()));
  for (std::size_t a = 0; a < kMeshAxes; ++a)
    if (step.limits[a].seconds > 0)
      text += fmt::format("  {:<9} {:>9}  {}\n", kMeshAxisNames[a], format_seconds(step.limits[a].seconds),
                          step.limits[a].why);
  if (step.busiest >= 0) {
    const WayLoad& way = step.ways[at(step.busiest)];
    text += fmt::format("bottleneck: {} carries {} in {}:", name_of(network, way), format_bytes(total(way)),
                        format_seconds(seconds_of(way)));
    for (std::size_t a = 0; a < kMeshAxes; ++a)
      if (way.bytes[a] > 0) text += fmt::format(" {} {}", kMeshAxisNames[a], format_bytes(way.bytes[a]));
    text += '\n';
  }
  for (const LeafSeats& leaf : step.leaves) text += leaf.report + '\n';
  return text;
}

comm::Marks marks_of(const StepOnNetwork& step, const comm::Fabric& network) {
  comm::Marks marks{.link = std::vector<std::string>(network.links.size()),
                    .heat = std::vector<double>(network.links.size(), 0),
                    .leaf = std::vector<std::string>(network.switches.size())};
  for (const LeafSeats& leaf : step.leaves)
    if (leaf.leaf >= 0) marks.leaf[at(leaf.leaf)] = leaf.holds;
  if (step.busiest < 0) return marks;
  const double slowest = seconds_of(step.ways[at(step.busiest)]);
  for (const WayLoad& way : step.ways) {
    if (way.link < 0 || total(way) <= 0) continue;
    marks.link[at(way.link)] = fmt::format("{} a step, {}", format_bytes(total(way)), format_seconds(seconds_of(way)));
    marks.heat[at(way.link)] = seconds_of(way) / slowest;
  }
  return marks;
}

Json to_json(const StepOnNetwork& step, const comm::Fabric& network) {
  Json j{{"placement", step.price.name}, {"process_of", step.price.process_of}, {"seconds", step.price.seconds()}};
  for (std::size_t a = 0; a < kMeshAxes; ++a)
    j["axes"].push_back(
        {{"axis", kMeshAxisNames[a]}, {"seconds", step.limits[a].seconds}, {"limit", step.limits[a].why}});
  j["ways"] = Json::array();
  for (const WayLoad& way : step.ways) {
    if (way.link < 0) continue;
    Json w{{"way", name_of(network, way)}, {"bytes_per_s", way.rate}};
    for (std::size_t a = 0; a < kMeshAxes; ++a) w[std::string(kMeshAxisNames[a])] = way.bytes[a];
    j["ways"].push_back(std::move(w));
  }
  if (step.busiest >= 0) j["bottleneck"] = name_of(network, step.ways[at(step.busiest)]);
  for (const LeafSeats& leaf : step.leaves) j["leaves"].push_back(leaf.report);
  return j;
}

}  // namespace banyan::plan
