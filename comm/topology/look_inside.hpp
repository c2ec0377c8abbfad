// Looks into hosts with hwloc (https://www.open-mpi.org/projects/hwloc).
#pragma once

#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/topology/node_inside.hpp"

namespace banyan::comm {

/// What hwloc is to look at: this host (or the one that HWLOC_XMLFILE describes, as all programs with hwloc have it), a
/// description such as "package:2 numa:1 core:8 pu:2", or what `lstopo --of xml` wrote.
struct Sight {
  enum class What { kHere, kSynthetic, kXml } what = What::kHere;
  std::string text = {};
};

/// DataError for a text that hwloc does not understand.  What hwloc does not see, in a virtual machine or a container,
/// is not in the result; CPUs that this process may not use are.
NodeInside look_inside(const Sight& sight = {});

/// CPUs to which the calling thread is bound; empty where it may run on all of them or nobody tells.
CpuSet bound_cpus();

/// The hosts of a job in the order of their first ranks.  For all ranks of `everyone` (the whole world) to call; the
/// answer is the same on all.
std::vector<HostInside> look_inside_all(World& world, Communicator& everyone);

}  // namespace banyan::comm
