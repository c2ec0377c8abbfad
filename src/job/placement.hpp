// What a job does about the network: learns which hosts hang from which switch, and decides which rank holds which part
// of the mesh.  The choices are src/plan's; this asks for them and tells people.
#pragma once

#include <string>
#include <vector>

#include "src/job/setup.hpp"

namespace banyan::job {

/// topology.source: gives the World its leaves.  Called by all ranks, which `everyone` holds, with nothing in flight.
/// ConfigError for a file that cannot be read, DataError for one that is wrong or does not have a host of the job.
void learn_topology(comm::World& world, comm::Communicator& everyone, const config::Config& config);

struct Placement {
  std::vector<int> process_of;  ///< world rank of every logical rank
  std::string reason;           ///< one sentence for people
};
/// topology.placement.  Called by all ranks; the same answer on all.
Placement choose_placement(const Job& job, const plan::Layout& layout, const parallel::Fabric& fabric);

}  // namespace banyan::job
