// Ring plans, for many ranks and large messages: every rank talks to its two neighbours only, and sends
// (size-1)/size of the data per phase, the least there is.
#pragma once

#include "comm/plans/plan.hpp"

namespace banyan::comm {

/// Reduce-scatter, then all-gather, both in kOutput.
Plan ring_all_reduce(int rank, int size, std::int64_t count, std::int64_t piece);
/// kInput holds all parts and is overwritten with partial sums, kOutput the own part; kInput's own part may be kOutput.
Plan ring_reduce_scatter(int rank, const Parts& parts, std::int64_t piece);
/// kInput holds the own part, kOutput all; kInput may be its own place in kOutput.
Plan ring_all_gather(int rank, const Parts& parts, std::int64_t piece);

}  // namespace banyan::comm
