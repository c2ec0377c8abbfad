// The levels of links of a machine as a known network has them, in place of those its file says.  Pure.
#pragma once

#include "comm/topology/fabric.hpp"
#include "src/plan/machine.hpp"

namespace banyan::plan {

/// Keeps the node and puts a level for each level of switches above it.  The network is taken as regular: units are as
/// large as the middle one of a level, and the unit with the least way up for each of its ranks decides a level's rate,
/// since all wait for it.  Rates that the fabric does not tell come from the machine's level of the same height, or the
/// next one below.  ConfigError for a fabric without switches, or when nothing tells a rate.
void use_fabric(Machine& machine, const comm::Fabric& fabric);

}  // namespace banyan::plan
