// Which process holds which coordinate of the mesh: orders of nodes and of axes, each with the time that a step's
// messages take under it.  Candidates are the order given, the orders of the axes over nodes as given and leaf by leaf,
// and the best nestings of the axes into the levels of the tree (nesting.hpp); the best of them is refined by swaps
// where that can help (refine.hpp).  Whole nodes are moved, so what ranks are bound to stays theirs.  Pure and
// deterministic.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/plan/link_load.hpp"
#include "src/plan/refine.hpp"

namespace banyan::plan {

/// All candidates; the first is the order of the world ranks.  Those that place alike are left out, and those that
/// would make rank 0, which speaks for the job, a spare.
std::vector<PlacementPrice> placements(const PlacementQuestion& question);

/// Below this the order of the ranks is left alone: predicted seconds over those of the order given.
inline constexpr double kWorthMoving = 0.9;

struct PlacementChoice {
  PlacementPrice chosen;
  std::string reason;  ///< one sentence for people
};
/// The cheapest of `all`, or one as cheap as the first, which is the order given, when that is about as good; of those
/// that cost the same, the one that moves fewest.
PlacementChoice choose(const std::vector<PlacementPrice>& all);

/// Whether swaps may make the cheapest of these cheaper, or leave more where it was.
bool worth_refining(const PlacementQuestion& question, const std::vector<PlacementPrice>& all);
/// Which of them swaps should start from.
const PlacementPrice& start_of_refining(const PlacementQuestion& question, const std::vector<PlacementPrice>& all);

/// placements(), one refined when worth it, and the choice: what one process finds alone.
PlacementChoice choose_placement(const PlacementQuestion& question);

/// The file of "pinned:FILE"; nothing for "auto" and "identity".  ConfigError for whatever else topology.placement
/// says.
std::optional<std::string> pinned_file(const std::string& wish);
/// World ranks in logical order from a file of numbers ("topology.placement = pinned:FILE"); '#' starts a comment.
/// ConfigError when they are not so many different ranks of the world, rank 0 among them.
std::vector<int> read_pinned(const std::string& text, const std::string& file, int mesh, int world);

}  // namespace banyan::plan
