// Local search over placements: what two nodes hold is swapped as long as that unburdens the way that takes longest of
// each axis, or the ways that are shared.  Only the flows of the two nodes are looked at for each swap, so that tens of
// thousands of ranks take seconds; what comes out is priced in full, and kept when it is no dearer.  T. Hoefler and
// M. Snir, "Generic topology mapping strategies for large-scale parallel architectures", ICS 2011, start from a greedy
// order as well and improve it; whole nodes are moved here, so what ranks are bound to stays theirs.  Pure and
// deterministic: a function of its arguments.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
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

/// What the search goes by: of each axis the way that takes longest when all its groups speak at once, together;
/// seconds.
double congestion(const PlacementQuestion& question, const Loads& loads);

/// What swapping nodes cannot bring congestion() below: swaps move what nodes carry from one to another, but not the
/// sum of it.
double least_congestion(const PlacementQuestion& question, const Loads& loads);

/// Congestion as the search keeps it, swap by swap, after each of these that it may make; for tests.
std::vector<double> congestion_of_swaps(const PlacementQuestion& question, const PlacementPrice& start,
                                        const std::vector<std::pair<int, int>>& nodes,
                                        std::vector<std::vector<int>>& process_of);

}  // namespace banyan::plan
