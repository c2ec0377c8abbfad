// The routes of an InfiniBand fabric: which port a switch sends by to each LID, from dump_fts(8) or from the file
// opensm-lfts.dump that opensm(8) writes, and how much each cable gets to carry by them.
//
// Routes of InfiniBand are fixed: all that goes from a switch to one adapter takes one cable, however busy it is.  When
// every adapter sends the same to every other one, the busiest cable of a way is full first, and the way then carries
//
//     min over its cables c of rate(c) * W / load(c),   W = sum of load(c)
//
// where load(c) is the number of pairs of adapters whose route takes c.  With equal cables and even routes that is the
// sum of the rates.  Hoefler, Schneider, Lumsdaine: Multistage Switches are not Crossbars: Effects of Static Routing in
// High-Performance Networks (IEEE Cluster 2008) measures what such routes cost.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "comm/topology/infiniband.hpp"

namespace banyan::comm {

/// Tables of all switches are long: some 60 bytes for each pair of a switch and an adapter.
inline constexpr std::size_t kLargestRoutes = std::size_t{2} << 30;

/// Follows the route from every adapter to every LID of another one and counts them at the cables
/// (IbCable::routes_ab, routes_ba).  Routes that end nowhere, for want of an entry or of a cable, or go in circles
/// count as far as they go, and a note says how many they are.  DataError with file and line for what is no such text,
/// a switch that the network does not have or that comes twice, LIDs that do not ascend; DataError when adapters of the
/// network have no LIDs, or have them in common.
void follow_routes(IbNetwork& network, std::string_view text, const std::string& file);

}  // namespace banyan::comm
