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
/// has one of its own when it is none of them.
std::string placement_table(const Layout& layout, const parallel::Fabric& fabric, const comm::Links& links,
                            const std::vector<int>& chosen);

/// Host names, one a line, in logical order, spares last: what SLURM_HOSTFILE (srun --distribution=arbitrary) and
/// `mpirun -n N --hostfile FILE --map-by seq` take, so that the next launch numbers its ranks as `process_of` has them.
/// `hosts` by world rank.
std::string host_file(const std::vector<int>& process_of, const std::vector<std::string>& hosts);

}  // namespace banyan::plan
