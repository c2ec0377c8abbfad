// Which rank of a job holds which part of the mesh (topology.placement).  The choice is src/plan's; this asks for it
// and tells people.
#pragma once

#include <string>
#include <vector>

#include "src/job/setup.hpp"

namespace banyan::job {

/// In the run directory: the hosts of the placement, for the next launch and the next choice.
inline constexpr const char* kHostFile = "hostfile";

struct Placement {
  std::vector<int> process_of;        ///< world rank of every logical rank
  std::string reason;                 ///< one sentence for people
  std::string name = "as asked for";  ///< of the order
};
/// topology.placement.  Called by all ranks; the same answer on all.
Placement choose_placement(const Job& job, const plan::Layout& layout, const parallel::Fabric& fabric);

}  // namespace banyan::job
