// Local search over placements: what two nodes hold is swapped as long as the messages of a step take less time, or
// the same time with less on the ways that are shared.  Only the flows of the two nodes are looked at for each swap, so
// that tens of thousands of ranks take seconds.  T. Hoefler and M. Snir, "Generic topology mapping strategies for
// large-scale parallel architectures", ICS 2011, start from a greedy order as well and improve it; whole nodes are
// moved here, so what ranks are bound to stays theirs.  Pure and deterministic: a function of its arguments.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/plan/link_load.hpp"

namespace banyan::plan {

struct RefineOptions {
  std::uint64_t seed = 0;  ///< which swaps are tried, and when
  std::int64_t tries = 0;  ///< swaps that are tried; 0: as many as suit the number of nodes
};

/// Starts from `start`, and is never dearer; of what costs the same, fewer ranks are moved.
PlacementPrice refine(const PlacementQuestion& question, const PlacementPrice& start,
                      const RefineOptions& options = {});

/// Seconds that no placement of these nodes' loads goes below, given what each node holds: what must leave a node does
/// so at its rate.  A placement that reaches it needs no refining.
double least_seconds(const PlacementQuestion& question, const PlacementPrice& price);

}  // namespace banyan::plan
