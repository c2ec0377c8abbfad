#include "src/plan/placement_choice.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <map>
#include <numeric>

#include "src/base/error.hpp"
#include "src/base/units.hpp"
#include "src/model/local_params.hpp"

namespace banyan::plan {
namespace {

constexpr double kBytes = 4;  // of an element on its way

std::size_t at(int i) { return static_cast<std::size_t>(i); }

/// What the links of one axis carry, in bytes, one way.
class Load {
 public:
  Load(const parallel::Fabric& fabric, const comm::Links& links) : fabric_(fabric), links_(links) {
    for (const auto& p : fabric.places) {
      nodes_ = std::max(nodes_, p.node + 1);
      leaves_ = std::max(leaves_, p.leaf + 1);
    }
    node_.assign(at(nodes_), 0);
    leaf_.assign(at(leaves_), 0);
  }

  void all_reduce(const std::vector<int>& members, double bytes) {
    if (members.size() < 2 || bytes <= 0) return;
    const auto share = [&](std::size_t places) {
      return 2 * bytes * static_cast<double>(places - 1) / static_cast<double>(places);
    };
    const auto spread = [&](auto place_of, std::vector<double>& load) {
      std::vector<int> places;
      for (int r : members) places.push_back(place_of(fabric_.places[at(r)]));
      std::sort(places.begin(), places.end());
      places.erase(std::unique(places.begin(), places.end()), places.end());
      if (places.size() > 1)
        for (int p : places) load[at(p)] += share(places.size());
      return places.size();
    };
    const std::size_t nodes = spread([](const auto& p) { return p.node; }, node_);
    const std::size_t leaves = spread([](const auto& p) { return p.leaf; }, leaf_);
    if (nodes < members.size()) inside_ = std::max(inside_, share(members.size()));
    widen(nodes, leaves);
  }
  /// A stream in each direction.
  void exchange(int a, int b, double bytes) {
    const auto &x = fabric_.places[at(a)], &y = fabric_.places[at(b)];
    if (x.node == y.node) {
      inside_ = std::max(inside_, bytes);
    } else {
      node_[at(x.node)] += bytes;
      node_[at(y.node)] += bytes;
    }
    if (x.leaf != y.leaf) {
      leaf_[at(x.leaf)] += bytes;
      leaf_[at(y.leaf)] += bytes;
    }
    widen(x.node == y.node ? 1 : 2, x.leaf == y.leaf ? 1 : 2);
  }
  double seconds(double calls) const {
    return calls * links_.at(widest_).latency +
           std::max({inside_ / links_.node.rate, slowest(node_, fabric_.node_rate, links_.leaf.rate),
                     slowest(leaf_, fabric_.leaf_rate, links_.across.rate)});
  }

 private:
  /// Seconds of the way that takes longest; those whose rate is not known carry what is usual.
  static double slowest(const std::vector<double>& load, const std::vector<double>& rates, double usual) {
    double most = 0;
    for (std::size_t i = 0; i < load.size(); ++i)
      most = std::max(most, load[i] / (i < rates.size() && rates[i] > 0 ? rates[i] : usual));
    return most;
  }
  void widen(std::size_t nodes, std::size_t leaves) {
    const auto d = leaves > 1 ? comm::Distance::kAcross : nodes > 1 ? comm::Distance::kLeaf : comm::Distance::kNode;
    widest_ = std::max(widest_, d);
  }

  const parallel::Fabric& fabric_;
  const comm::Links& links_;
  int nodes_ = 0, leaves_ = 0;
  std::vector<double> node_, leaf_;
  double inside_ = 0;
  comm::Distance widest_ = comm::Distance::kNode;
};

/// World ranks, node by node; nodes as they first appear, or those of a leaf next to each other.
std::vector<int> slots(const parallel::Fabric& fabric, bool by_leaf) {
  std::map<int, int> node_order, leaf_order;
  for (const auto& p : fabric.places) {
    node_order.emplace(p.node, static_cast<int>(node_order.size()));
    leaf_order.emplace(p.leaf, static_cast<int>(leaf_order.size()));
  }
  std::vector<int> ranks(fabric.places.size());
  std::iota(ranks.begin(), ranks.end(), 0);
  std::stable_sort(ranks.begin(), ranks.end(), [&](int a, int b) {
    const auto key = [&](int r) {
      const auto& p = fabric.places[at(r)];
      return std::array{by_leaf ? leaf_order.at(p.leaf) : 0, node_order.at(p.node), p.local_rank};
    };
    return key(a) < key(b);
  });
  return ranks;
}

enum Axis : std::uint8_t { kTensor, kData, kPipeline };
constexpr std::array kAxisNames{"tensor", "data", "pipeline"};

/// Logical ranks over slots, the first axis of `order` fastest.  Context ranks stay with their tensor ranks.
std::vector<int> lay_out(const parallel::MeshShape& shape, const std::vector<int>& ranks, std::array<Axis, 3> order) {
  const std::array sizes{shape.tensor * shape.context, shape.data, shape.pipeline};
  std::array<int, 3> stride{};
  int step = 1;
  for (Axis a : order) {
    stride[a] = step;
    step *= sizes[a];
  }
  std::vector<int> process_of;
  for (int p = 0; p < shape.pipeline; ++p)
    for (int d = 0; d < shape.data; ++d)
      for (int t = 0; t < sizes[kTensor]; ++t)
        process_of.push_back(ranks[at(t * stride[kTensor] + d * stride[kData] + p * stride[kPipeline])]);
  return process_of;
}

}  // namespace

Demand demand_of(const Layout& layout) {
  Demand demand;
  const parallel::MeshShape& mesh = layout.mesh;
  const double tokens = static_cast<double>(layout.sequences * layout.model.context);
  const double stream = tokens * static_cast<double>(layout.model.width) * kBytes;
  const double microbatches = static_cast<double>(layout.microbatches_of(0).count);
  const bool trains = layout.use == Use::kTrain;
  double blocks = 0;
  for (const auto& s : layout.stages) blocks = std::max(blocks, static_cast<double>(s.count()));
  if (mesh.tensor > 1) {
    // Two reductions of the residual stream of a block forward, two backward, two more when it is computed again.
    demand.tensor_calls = blocks * microbatches * (trains ? layout.recompute ? 6 : 4 : 2);
    demand.tensor = demand.tensor_calls * stream;
  }
  if (mesh.pipeline > 1) {
    demand.pipeline = microbatches * (layout.sequence ? stream / mesh.tensor : stream);
    demand.pipeline_calls = microbatches * (trains ? 2 : 1);
  }
  for (int s = 0; s < mesh.pipeline; ++s) {
    double bytes = 0;
    if (trains && mesh.data > 1)
      for (const model::LocalParam& p : model::local_params(layout.stage_spec({.pipeline = s})))
        bytes += static_cast<double>(p.count.count()) * kBytes;
    demand.data.push_back(bytes);
  }
  if (trains && layout.model.tied && mesh.pipeline > 1)
    demand.tied = static_cast<double>(layout.model.vocab * layout.model.width) / mesh.tensor * kBytes;
  return demand;
}

PlacementPrice price_placement(const Layout& layout, const Demand& demand, const parallel::Fabric& fabric,
                               const comm::Links& links, std::vector<int> process_of, std::string name) {
  const parallel::Mesh mesh(layout.mesh, process_of);
  Load tensor(fabric, links), data(fabric, links), pipeline(fabric, links);
  for (int i = 0; i < layout.mesh.size(); ++i) {
    const parallel::Coordinate c = mesh.coordinate(i);
    if (c.tensor == 0) tensor.all_reduce(mesh.tensor_group(c), demand.tensor);
    if (c.data == 0) data.all_reduce(mesh.data_group(c), demand.data[at(c.pipeline)]);
    if (c.pipeline > 0) continue;
    const std::vector<int> column = mesh.pipeline_group(c);
    for (std::size_t s = 0; s + 1 < column.size(); ++s) pipeline.exchange(column[s], column[s + 1], demand.pipeline);
    if (demand.tied > 0) data.all_reduce({column.front(), column.back()}, demand.tied);
  }
  PlacementPrice price{.name = std::move(name), .process_of = std::move(process_of)};
  price.tensor = tensor.seconds(demand.tensor_calls);
  price.pipeline = pipeline.seconds(demand.pipeline_calls);
  price.data = data.seconds(layout.mesh.data > 1 ? 1 : 0);
  return price;
}

std::vector<PlacementPrice> placements(const Layout& layout, const parallel::Fabric& fabric, const comm::Links& links) {
  const Demand demand = demand_of(layout);
  std::vector<PlacementPrice> all;
  const auto add = [&](std::vector<int> process_of, std::string name) {
    for (const PlacementPrice& p : all)
      if (p.process_of == process_of) return;
    all.push_back(price_placement(layout, demand, fabric, links, std::move(process_of), std::move(name)));
  };
  add(parallel::place(layout.mesh, fabric), "ranks as given");
  for (const bool by_leaf : {false, true}) {
    const std::vector<int> ranks = slots(fabric, by_leaf);
    std::array<Axis, 3> order{kTensor, kData, kPipeline};
    do {
      add(lay_out(layout.mesh, ranks, order),
          fmt::format("nodes {}; {}, {}, {}", by_leaf ? "by leaf" : "as given", kAxisNames[order[0]],
                      kAxisNames[order[1]], kAxisNames[order[2]]));
    } while (std::next_permutation(order.begin(), order.end()));
  }
  return all;
}

PlacementChoice choose_placement(const Layout& layout, const parallel::Fabric& fabric, const comm::Links& links) {
  std::vector<PlacementPrice> all = placements(layout, fabric, links);
  const double given = all[0].seconds();
  std::size_t best = 0;
  for (std::size_t i = 1; i < all.size(); ++i)
    if (all[i].seconds() < all[best].seconds()) best = i;
  const double least = all[best].seconds();
  if (best == 0) return {std::move(all[0]), "the order of the ranks is as good as any"};
  if (least > kWorthMoving * given)
    return {std::move(all[0]),
            fmt::format("the order of the ranks is left alone: another one would save {:.0f} % of the "
                        "time of messages",
                        100 * (1 - least / given))};
  std::string reason = fmt::format("{}: messages of a step are predicted to take {} instead of {}", all[best].name,
                                   format_seconds(least), format_seconds(given));
  return {std::move(all[best]), std::move(reason)};
}

std::vector<int> read_pinned(const std::string& text, const std::string& file, int mesh, int world) {
  std::vector<int> ranks;
  std::vector<char> used(at(world), 0);
  int line = 1;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '#') {
      i = std::min(text.find('\n', i), text.size());
    } else if (c == '\n' || c == ' ' || c == '\t' || c == '\r' || c == ',') {
      line += c == '\n';
      ++i;
    } else {
      int rank = -1;
      const auto [end, error] = std::from_chars(text.data() + i, text.data() + text.size(), rank);
      if (error != std::errc{} || rank < 0 || rank >= world)
        throw ConfigError("{}:{}: '{}' is not a rank from 0 to {}", file, line,
                          text.substr(i, std::min<std::size_t>(20, text.find_first_of(" \t\r\n,", i) - i)), world - 1);
      if (used[at(rank)]++) throw ConfigError("{}:{}: rank {} is there twice", file, line, rank);
      ranks.push_back(rank);
      i = static_cast<std::size_t>(end - text.data());
    }
  }
  if (static_cast<int>(ranks.size()) != mesh)
    throw ConfigError(
        "{}: {} ranks, but the mesh has {}; list the world rank of each, tensor fastest, then data, then "
        "pipeline",
        file, ranks.size(), mesh);
  return ranks;
}

}  // namespace banyan::plan
