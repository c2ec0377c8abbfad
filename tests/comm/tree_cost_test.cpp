#include "comm/tree_cost.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

// Nodes of 4, leaves of 16, everybody; 100, 10 and 2.5 bytes/s of a rank.
const TreeLinks kTree{{4, 1e-6, 100}, {16, 5e-6, 10}, {0, 8e-6, 2.5}};

TEST(TreeCost, InsideANodeItsLinksCount) {
  const TreeLevel link = group_link(kTree, {4, 1});
  EXPECT_EQ(link.rate, 100);
  EXPECT_EQ(link.latency, 1e-6);
  EXPECT_NEAR(tree_all_reduce_seconds(kTree, {4, 1}, 400), 2 * (2e-6 + 3), 1e-9);
}

TEST(TreeCost, GroupsShareWhatLeavesANode) {
  // One member in each node: four groups want the node's adapters.
  EXPECT_EQ(group_link(kTree, {4, 4}).rate, 10);
  // All four members of a node belong to one group, which has the adapters for itself.
  EXPECT_EQ(group_link(kTree, {16, 1}).rate, 40);
  // Two members in a node.
  EXPECT_EQ(group_link(kTree, {8, 2}).rate, 20);
  // Across leaves: 16 members in each, of a taper of four.
  EXPECT_EQ(group_link(kTree, {64, 1}).rate, 40);
  EXPECT_EQ(group_link(kTree, {4, 16}).rate, 2.5);
  EXPECT_EQ(group_link(kTree, {4, 16}).latency, 8e-6);
}

TEST(TreeCost, AMessageTakesItsLongestHop) {
  EXPECT_NEAR(tree_message_seconds(kTree, {2, 1}, 100), 1 + 1e-6, 1e-9);
  EXPECT_NEAR(tree_message_seconds(kTree, {2, 4}, 100), 10 + 5e-6, 1e-9);
  // Only every second rank's next neighbour is in another node, so that adapters serve half as many.
  EXPECT_NEAR(tree_message_seconds(kTree, {4, 2}, 100), 5 + 5e-6, 1e-9);
  EXPECT_NEAR(tree_message_seconds(kTree, {8, 16}, 100), 40 + 8e-6, 1e-9);
}

TEST(TreeCost, DeviceMemoryIsCopiedWholeToTheHostAndBack) {
  const TreeLinks direct{{0, 1e-6, 100}};
  TreeLinks staged = direct;
  staged[0].host = {.start = 1e-3, .copy = 0.1, .add = 0.01};
  const RegularGroup four{4, 1};
  const auto beyond = [&](auto&& call) { return call(staged, four, 400) - call(direct, four, 400); };
  EXPECT_NEAR(beyond(tree_all_reduce_seconds), 2e-3 + 80 + 3, 1e-9);
  EXPECT_NEAR(beyond(tree_reduce_scatter_seconds), 2e-3 + 40 + 10 + 3, 1e-9);
  EXPECT_NEAR(beyond(tree_all_gather_seconds), 2e-3 + 10 + 40, 1e-9);
  EXPECT_NEAR(beyond(tree_message_seconds), 2e-3 + 80, 1e-9);
  staged[0].host.messages = false;
  EXPECT_EQ(beyond(tree_message_seconds), 0);
  EXPECT_EQ(tree_all_gather_seconds(staged, {1, 1}, 400), 0);
}

TEST(TreeCost, NothingCostsNothing) {
  EXPECT_EQ(tree_all_reduce_seconds(kTree, {1, 7}, 1e9), 0);
  EXPECT_EQ(tree_message_seconds(kTree, {1, 1}, 1e9), 0);
  EXPECT_THROW(group_link({}, {2, 1}), BugError);
  EXPECT_THROW(group_link(kTree, {0, 1}), BugError);
}

TEST(TreeCost, MoreBytesMoreMembersAndMoreDistanceNeverCostLess) {
  for (int stride = 1; stride <= 64; stride *= 2)
    for (int size = 2; size <= 64; size *= 2) {
      EXPECT_LE(tree_all_gather_seconds(kTree, {size, stride}, 1e3),
                tree_all_gather_seconds(kTree, {size, stride}, 2e3));
      EXPECT_LE(tree_all_gather_seconds(kTree, {size, stride}, 1e3),
                tree_all_gather_seconds(kTree, {size, 2 * stride}, 1e3) * (1 + 1e-12));
    }
}

}  // namespace
}  // namespace banyan::comm
