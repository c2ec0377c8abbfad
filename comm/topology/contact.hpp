// Measures what comm/topology/probe.hpp asks for, between the nodes of a job.
#pragma once

#include <vector>

#include "comm/communicator.hpp"
#include "comm/topology/probe.hpp"

namespace banyan::comm {

/// World ranks that speak for their nodes: the first one of each, in order.
std::vector<int> node_speakers(const World& world);

/// For all ranks of `everyone` (the whole world) to call with the same rounds; host i is speakers[i].  The answers are
/// the same on all ranks.  A pair exchanges 24 short messages and three long ones (1 MiB) each way; the long ones of
/// all pairs begin together.  `everyone` and `speakers` outlive what is returned.
Measure measure_between(Communicator& everyone, const std::vector<int>& speakers);

}  // namespace banyan::comm
