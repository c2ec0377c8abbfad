// A machine file as those see it who are played or predicted: the dry device, and the links that plans and placements
// are priced with.  Pure.
#pragma once

#include "comm/cost.hpp"
#include "kernels/dry/dry.hpp"
#include "src/plan/machine.hpp"

namespace banyan::sim {

/// The machine's rates of one rank.  `spend` is left empty.
kernels::DryOptions device_of(const plan::Machine& machine);

/// What a rank's memory, a node's adapter and a leaf's way up carry.  ConfigError when the machine has more levels than
/// node, leaf and one above, or lacks one of them.
comm::Links links_of(const plan::Machine& machine);

}  // namespace banyan::sim
