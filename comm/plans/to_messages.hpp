// Publish and fold in terms of messages: what is published is sent to each reader; a fold's terms are received into
// scratch, ahead of time, and combined in their order.  Pure; the results are the same to the bit.
#pragma once

#include "comm/plans/plan.hpp"

namespace banyan::comm {

/// The same collective without publish and fold steps; a plan that has none comes back as it is.
Plan to_messages(Plan plan);

}  // namespace banyan::comm
