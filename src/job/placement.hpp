// Which rank of a job holds which part of the mesh (topology.placement).  The choice is src/plan's; this asks for it
// and tells people.
#pragma once

#include <string>
#include <vector>

#include "src/job/setup.hpp"
#include "src/plan/block_price.hpp"

namespace banyan::job {

/// In the run directory: the hosts of the placement, for the next launch and the next choice.
inline constexpr const char* kHostFile = "hostfile";

struct Placement {
  std::vector<int> process_of;        ///< world rank of every logical rank
  std::string reason;                 ///< one sentence for people
  std::string name = "as asked for";  ///< of the order
  /// What the choice reckoned with (PlacementQuestion); equal on all ranks.
  comm::Links links = {};
  std::vector<plan::Pass> computing = {};  ///< by stage
};
/// topology.placement.  Called by all ranks; the same answer on all.  Where training chooses among several nodes, it
/// reckons with what a stage computes (machine_of) and what links are worth (links_of).
Placement choose_placement(Job& job, const plan::Layout& layout, const parallel::Fabric& fabric);

}  // namespace banyan::job
