#include "src/plan/placement_choice.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <numeric>

#include "src/base/error.hpp"
#include "src/base/units.hpp"
#include "src/plan/nesting.hpp"

namespace banyan::plan {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

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

/// The axes one after the other over slots, the first of `order` fastest.
Nesting in_order(const parallel::MeshShape& mesh, const std::array<MeshAxis, kMeshAxes>& order) {
  Nesting nesting;
  for (MeshAxis axis : order) {
    nesting.factor.push_back({1, 1, 1});
    nesting.factor.back()[static_cast<std::size_t>(axis)] = axis == MeshAxis::kTensor     ? mesh.tensor * mesh.context
                                                            : axis == MeshAxis::kPipeline ? mesh.pipeline
                                                                                          : mesh.data;
  }
  return nesting;
}

/// Nestings that are laid out and priced exactly: those that promise most.
constexpr std::size_t kNestings = 12;

std::size_t cheapest(const std::vector<PlacementPrice>& all) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < all.size(); ++i)
    if (all[i].seconds() < all[best].seconds()) best = i;
  return best;
}

}  // namespace

std::vector<PlacementPrice> placements(const PlacementQuestion& q) {
  std::vector<PlacementPrice> all;
  const auto add = [&](std::vector<int> process_of, std::string name) {
    // Rank 0 speaks for the job and cannot be a spare.
    if (std::find(process_of.begin(), process_of.end(), 0) == process_of.end()) return;
    for (const PlacementPrice& p : all)
      if (p.process_of == process_of) return;
    all.push_back(q.price(std::move(process_of), std::move(name)));
  };
  add(parallel::place(q.mesh, q.fabric), "ranks as given");
  for (const bool by_leaf : {false, true}) {
    const std::vector<int> ranks = slots(q.fabric, by_leaf);
    std::array order{MeshAxis::kTensor, MeshAxis::kPipeline, MeshAxis::kData};
    do {
      const auto name = [&](std::size_t i) { return kMeshAxisNames[static_cast<std::size_t>(order[i])]; };
      add(lay_out(q.mesh, in_order(q.mesh, order), ranks),
          fmt::format("nodes {}; {}, {}, {}", by_leaf ? "by leaf" : "as given", name(0), name(1), name(2)));
    } while (std::next_permutation(order.begin(), order.end()));
  }

  struct Promise {
    double seconds;
    Nesting nesting;
    std::size_t units;
  };
  const std::vector<std::vector<int>> units = unit_sizes(q.mesh, q.fabric);
  std::vector<Promise> promises;
  for (std::size_t u = 0; u < units.size(); ++u)
    for (Nesting& nesting : nestings(q.mesh, units[u])) {
      const double seconds = estimate(q, nesting);
      promises.push_back({seconds, std::move(nesting), u});
    }
  std::stable_sort(promises.begin(), promises.end(),
                   [](const Promise& a, const Promise& b) { return a.seconds < b.seconds; });
  if (promises.size() > kNestings) promises.resize(kNestings);
  for (const Promise& p : promises)
    add(lay_out(q.mesh, p.nesting, packed_slots(q.fabric, units[p.units])), p.nesting.str());
  return all;
}

PlacementChoice choose(const std::vector<PlacementPrice>& all) {
  const double given = all[0].seconds(), least = all[cheapest(all)].seconds();
  const double most = (least > kWorthMoving * given ? given : least) * (1 + 1e-9);
  std::size_t best = all.size();
  for (std::size_t i = 0; i < all.size(); ++i)
    if (all[i].seconds() <= most && (best == all.size() || all[i].moved < all[best].moved)) best = i;
  const PlacementPrice& chosen = all[best];
  if (best > 0 && least > kWorthMoving * given)
    return {chosen,
            fmt::format("{}: {} of {} ranks keep the part of the model that their node had", chosen.name,
                        chosen.process_of.size() - static_cast<std::size_t>(chosen.moved), chosen.process_of.size())};
  if (best > 0)
    return {chosen, fmt::format("{}: messages of a step are predicted to take {} instead of {}", chosen.name,
                                format_seconds(chosen.seconds()), format_seconds(given))};
  if (least >= given) return {chosen, "the order of the ranks is as good as any"};
  return {chosen, fmt::format("the order of the ranks is left alone: another one would save {:.0f} % of the "
                              "time of messages",
                              100 * (1 - least / given))};
}

bool worth_refining(const PlacementQuestion& q, const std::vector<PlacementPrice>& all) {
  if (q.ways.places(0) < 2) return false;
  const PlacementPrice& start = start_of_refining(q, all);
  const Loads loads = q.loads(start.process_of, Follows::kOwnPlaces);
  return start.moved > 0 || congestion(q, loads) > least_congestion(q, loads) * (1 + 1e-6);
}

const PlacementPrice& start_of_refining(const PlacementQuestion& q, const std::vector<PlacementPrice>& all) {
  const PlacementPrice& best = all[cheapest(all)];
  if (q.before.empty()) return best;
  // What will be taken should move little; what will not be need not.
  const PlacementPrice chosen = choose(all).chosen;
  return *std::find_if(all.begin(), all.end(),
                       [&](const PlacementPrice& p) { return p.process_of == chosen.process_of; });
}

PlacementChoice choose_placement(const PlacementQuestion& q) {
  std::vector<PlacementPrice> all = placements(q);
  if (worth_refining(q, all)) all.push_back(refine(q, start_of_refining(q, all)));
  return choose(all);
}

std::optional<std::string> pinned_file(const std::string& wish) {
  constexpr std::string_view kPinned = "pinned:";
  if (wish == "auto" || wish == "identity") return std::nullopt;
  if (!wish.starts_with(kPinned) || wish.size() == kPinned.size())
    throw ConfigError("topology.placement = {} is not known; use auto, identity or pinned:FILE", wish);
  return wish.substr(kPinned.size());
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
  if (mesh > 0 && !used[0])
    throw ConfigError("{}: rank 0 is not there; it speaks for the job and cannot be a spare", file);
  return ranks;
}

}  // namespace banyan::plan
