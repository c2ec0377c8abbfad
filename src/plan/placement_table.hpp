// What placements of one job cost beside each other, for people, and the one chosen as the next launch can take it.
// Pure.
#pragma once

#include <string>
#include <vector>

#include "src/plan/placement_choice.hpp"

namespace banyan::plan {

/// Random orders of nodes that the table has the median of.
inline constexpr int kRandomOrders = 20;

/// One line for each candidate of placements() and for the median of kRandomOrders random orders of the nodes (drawn
/// from a fixed seed), cheapest first: seconds of a step's messages on the axes.  The line of `chosen` is marked; it
/// has one of its own, by its name, when it is none of them.
std::string placement_table(const PlacementQuestion& question, const PlacementPrice& chosen);

/// Host names, one a line, in logical order, spares last: what SLURM_HOSTFILE (srun --distribution=arbitrary) and
/// `mpirun -n N --hostfile FILE --map-by seq` take, so that the next launch numbers its ranks as `process_of` has them.
/// `hosts` by world rank.
std::string host_file(const std::vector<int>& process_of, const std::vector<std::string>& hosts);
/// What such a file said, read again: the node of `fabric` that held each logical rank, -1 where its host is not among
/// `hosts` (by world rank) any more; empty where it has fewer lines than the mesh has ranks.
std::vector<int> nodes_of_hosts(const std::string& text, int mesh, const std::vector<std::string>& hosts,
                                const parallel::Fabric& fabric);

}  // namespace banyan::plan
