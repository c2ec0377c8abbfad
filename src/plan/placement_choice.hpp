// Which process holds which coordinate of the mesh: a few orders of nodes and of axes, each with the time that a step's
// messages take under it, the least first.  Whole nodes are moved, so what ranks are bound to stays theirs.
//
// All traffic of an axis runs at the same time and shares the adapters of nodes and the up-links of leaves: what a
// group of n places must at least carry in and out of each of them, 2 (n-1)/n of an all-reduce's bytes (R. Thakur et
// al., IJHPCA 2005, section 4.4; hierarchical plans reach it), summed over groups; the link that takes longest
// counts.  A way up whose rate the fabric knows (a degraded one, say) carries that, others what is usual.  Pure and
// deterministic.
#pragma once

#include <string>
#include <vector>

#include "comm/cost.hpp"
#include "src/parallel/placement.hpp"
#include "src/plan/layout.hpp"

namespace banyan::plan {

/// Bytes that one step moves.
struct Demand {
  double tensor = 0;                            ///< all-reduced by each tensor group
  std::vector<double> data;                     ///< all-reduced by each data group, per pipeline stage
  double pipeline = 0;                          ///< in each direction between neighbouring stages
  double tied = 0;                              ///< all-reduced by the first and the last stage
  double tensor_calls = 0, pipeline_calls = 0;  ///< messages one after the other
};
Demand demand_of(const Layout& layout);

struct PlacementPrice {
  std::string name;                           ///< "ranks as given", "nodes by leaf; tensor, pipeline, data"
  std::vector<int> process_of;                ///< world rank of every logical rank
  double tensor = 0, pipeline = 0, data = 0;  ///< seconds of a step's messages
  double seconds() const { return tensor + pipeline + data; }
};

/// Of one order that is given.
PlacementPrice price_placement(const Layout& layout, const Demand& demand, const parallel::Fabric& fabric,
                               const comm::Links& links, std::vector<int> process_of, std::string name);

/// All candidates; the first is the order of the world ranks.  Those that place alike are left out.
std::vector<PlacementPrice> placements(const Layout& layout, const parallel::Fabric& fabric, const comm::Links& links);

/// Below this the order of the ranks is left alone: predicted seconds over those of the order given.
inline constexpr double kWorthMoving = 0.9;

struct PlacementChoice {
  PlacementPrice chosen;
  std::string reason;  ///< one sentence for people
};
/// The cheapest, or the order given when that is about as good.
PlacementChoice choose_placement(const Layout& layout, const parallel::Fabric& fabric, const comm::Links& links);

/// World ranks in logical order from a file of numbers ("topology.placement = pinned:FILE"); '#' starts a comment.
/// ConfigError when they are not so many different ranks of the world.
std::vector<int> read_pinned(const std::string& text, const std::string& file, int mesh, int world);

}  // namespace banyan::plan
