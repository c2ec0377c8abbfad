// Direct plans, for few ranks: everybody's numbers are seen by whoever needs them, in one step.  Fewest rounds, and the
// operands of every element meet in rank order, ((x0 + x1) + x2) + ..., in all of them, whatever the size.  Written in
// publish and fold steps: a shared window executes them as they are.  Volume per rank: n + n/p for a sum that all have
// (sent: 2 n (p-1)/p by messages), n (p-1) in the one-round form.
#pragma once

#include "comm/plans/plan.hpp"

namespace banyan::comm {

/// All show all of it to all: one round.  For small messages, and for two ranks, where it moves no more than two
/// rounds.
Plan direct_all_reduce_one_round(int rank, int size, std::int64_t count, std::int64_t piece);
/// Owners add up their part and show the sum to all: two rounds, in pieces of at most `piece` elements.
Plan direct_all_reduce(int rank, int size, std::int64_t count, std::int64_t piece);
/// kInput holds all parts, kOutput the own part; kInput's own part may be kOutput.
Plan direct_reduce_scatter(int rank, const Parts& parts, std::int64_t piece);
/// kInput holds the own part, kOutput all; kInput may be its own place in kOutput.
Plan direct_all_gather(int rank, const Parts& parts, std::int64_t piece);
/// kOutput of `root` goes to all.
Plan direct_broadcast(int rank, int size, std::int64_t count, int root, std::int64_t piece);
/// Nobody leaves before everybody has come.
Plan direct_barrier(int rank, int size);
/// kInput is the concatenation of what goes to each rank, kOutput of what comes from each.  Empty messages are sent
/// too, so that counts that do not agree are noticed.
Plan direct_all_to_all(int rank, const Parts& in, const Parts& out, std::int64_t piece);

}  // namespace banyan::comm
