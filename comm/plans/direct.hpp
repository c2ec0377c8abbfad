// Direct plans, for few ranks: everybody talks to everybody at once.  Fewest rounds, and the operands of every element
// meet in rank order, ((x0 + x1) + x2) + ..., in all of them.  Volume per rank as in a ring.
#pragma once

#include "comm/plans/plan.hpp"

namespace banyan::comm {

/// All send all of it to all: one round, size-1 times the data.  For small messages.
Plan direct_all_reduce_small(int rank, int size, std::int64_t count);
/// Owners reduce their part and send the result to all: two rounds, in pieces of at most `piece` elements.
Plan direct_all_reduce(int rank, int size, std::int64_t count, std::int64_t piece);
/// kInput holds all parts, kOutput the own part; kInput's own part may be kOutput.
Plan direct_reduce_scatter(int rank, const Parts& parts, std::int64_t piece);
/// kInput holds the own part, kOutput all; kInput may be its own place in kOutput.
Plan direct_all_gather(int rank, const Parts& parts, std::int64_t message);

}  // namespace banyan::comm
