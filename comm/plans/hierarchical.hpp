// Plans that follow a tree of places: inside the node first, then inside the leaf, then across, so that the narrow
// links at the top carry least.  In each place one member of every part meets one of every other part; what a member
// owns it exchanges with those who own the same in the other parts, so all members, and all network cards of a node,
// carry their share at once ("rails").  Any tree will do, also ragged ones.  R. Rabenseifner, "Optimization of
// Collective Reduction Operations", ICCS 2004, is the case of a binary tree; here the nearest exchange first.
//
// Volume sent by the members of one part of a place with k parts, together: all-reduce 2 n (k-1)/k, half of it up and
// half down.  Operand order: the order of parts in each place, innermost places first.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/plans/member_tree.hpp"
#include "comm/plans/plan.hpp"

namespace banyan::comm {

/// Members of different parts of a place that own the same elements: each adds up, or passes on, one share of them.
struct Exchange {
  std::vector<int> owners;    ///< by part
  std::vector<Slice> shares;  ///< by part
};
/// Of an all-reduce of `count` elements, by height of the place, from 1: what happens at one time on the way up, and in
/// the opposite order on the way down.
std::vector<std::vector<Exchange>> exchanges_of(const MemberTree& tree, std::int64_t count);

/// In segments that follow each other through the levels, so that all levels are busy at once; messages have at most
/// `piece` elements.
Plan hierarchical_all_reduce(const MemberTree& tree, int rank, std::int64_t count, std::int64_t piece);
/// kInput holds all parts and is overwritten with partial sums, kOutput the own part; kInput's own part may be kOutput.
Plan hierarchical_reduce_scatter(const MemberTree& tree, int rank, const Parts& parts, std::int64_t piece);
/// kInput holds the own part, kOutput all; kInput may be its own place in kOutput.
Plan hierarchical_all_gather(const MemberTree& tree, int rank, const Parts& parts, std::int64_t piece);

}  // namespace banyan::comm
