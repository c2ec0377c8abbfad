// The placements that are played: some of those that src/plan proposes, and others drawn from a seed.  Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "src/plan/link_load.hpp"

namespace banyan::sim {

/// `count` placements (at least 1, as many as there are different ones) with their prices: the ranks as given; up to
/// half of them candidates of plan::placements, evenly spread over the order of their prices with cheapest and dearest;
/// then three of four with the nodes of a candidate in random order, one of four with all ranks in random order.
/// No two are the same.
std::vector<plan::PlacementPrice> draw_placements(const plan::PlacementQuestion& question, int count,
                                                  std::uint64_t seed);

}  // namespace banyan::sim
