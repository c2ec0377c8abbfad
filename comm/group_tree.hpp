// Where the members of groups sit, as trees of places.  Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "comm/plans/catalog.hpp"

namespace banyan::comm {

/// The switch above a node, with all switches above that one ("spine.leaf1"), as Slurm tells it in SLURM_TOPOLOGY_ADDR
/// ("spine.leaf1.n7") and SLURM_TOPOLOGY_ADDR_PATTERN ("switch.switch.node"); empty where it tells nothing.
std::string leaf_name(std::string_view address, std::string_view pattern);

/// Numbers of equal names, by first appearance; all 0 when one of them is empty.
std::vector<int> number_places(const std::vector<std::string>& names);

/// The tree of one group from the numbers of its members' nodes and leaves.
GroupTree make_tree(const std::vector<int>& nodes, const std::vector<int>& leaves);

/// One tree for groups of equal size that must do the same: members are in one place when they are in every group.
GroupTree common_tree(const std::vector<GroupTree>& trees);

/// Whether all members are in one place of the innermost level.
bool on_one_node(const GroupTree& tree);

}  // namespace banyan::comm
