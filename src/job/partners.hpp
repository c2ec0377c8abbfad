// Which node keeps a copy of another node's part of a node-local checkpoint, and which ranks carry it there.  Pure.
#pragma once

#include <vector>

namespace banyan::job {

/// For every node the one that keeps the copy of its part; -1 when there is no other node.  `leaf[n]`: the switch that
/// node n hangs from.  Every node keeps one copy, never its own; as many copies as such a plan can have lie below
/// another switch than what they are copies of: all, when no switch has more than half of the nodes.
///
///   leaf  0 0 0 1 1 2    in the order of the leaves, the largest first, each node's partner is as many places further
///   as to    3 4 5 ...      the largest leaf has nodes: far enough to leave any leaf, in either direction around
std::vector<int> node_partners(const std::vector<int>& leaf);

/// For every rank the one that its file goes to; -1: nowhere.  `node[r]`: the node that rank r sits on, 0 .. ;
/// `leaf[n]` as above.  The ranks of a node send to those of its partner in turn.
std::vector<int> rank_partners(const std::vector<int>& node, const std::vector<int>& leaf);

}  // namespace banyan::job
