// Trees over ranks, and the collectives that run along one: broadcast down, all-reduce up and down.  Cost with pieces:
// depth x latency + n / bandwidth of the busiest rank, who sends n to each child.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/plans/member_tree.hpp"
#include "comm/plans/plan.hpp"

namespace banyan::comm {

/// One rank's place in a tree.
struct Branch {
  int parent = -1;            ///< -1: the root
  std::vector<int> children;  ///< in the order in which they are sent to
};

/// The binomial tree: a rank's parent is itself without its lowest bit, counted from the root.
Branch binomial_branch(int rank, int size, int root);
/// The distance-halving Bine tree: partners lie (1 - (-2)^k) / 3 apart, in turn to either side, so that paths are
/// shorter by a third than a binomial tree's.  D. De Sensi and others, "Bine Trees: Enhancing Collective Operations by
/// Optimizing Communication Locality", SC 2025, section 3.  Ranks beyond the largest power of two hang below the first
/// ones.
Branch bine_branch(int rank, int size, int root);
/// Every place is entered once: binomial trees among the first members of the places of a level, level by level.
Branch hierarchical_branch(const MemberTree& tree, int rank, int root);

/// kOutput of the root goes to all, in pieces, so that inner ranks pass on while they receive.
Plan broadcast_along(const Branch& branch, std::int64_t count, std::int64_t piece);
/// Sums go up, each rank adding its children's to its own in their order; the root's sum comes down.
Plan all_reduce_along(const Branch& branch, std::int64_t count, std::int64_t piece);

}  // namespace banyan::comm
