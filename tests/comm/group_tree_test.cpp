#include "comm/group_tree.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

TEST(GroupTree, LeavesAreTheSwitchesOfAnAddress) {
  EXPECT_EQ(leaf_name("s0.leaf1.n7", "switch.switch.node"), "s0.leaf1");
  EXPECT_EQ(leaf_name("leaf1.n7.cluster.org", "switch.node"), "leaf1");
  EXPECT_EQ(leaf_name("n7.cluster.org", "node"), "");
  EXPECT_EQ(leaf_name("n7", "switch.node"), "");
  EXPECT_EQ(leaf_name("", ""), "");
}

TEST(GroupTree, PlacesAreNumberedAsTheyAppear) {
  EXPECT_EQ(number_places({"b", "a", "b", "c"}), (std::vector<int>{0, 1, 0, 2}));
  EXPECT_EQ(number_places({"b", "", "c"}), (std::vector<int>{0, 0, 0})) << "unknown for one is unknown for all";
  EXPECT_EQ(make_tree({7, 3, 7}, {5, 5, 5}), (GroupTree{{{0, 1, 0}, {0, 0, 0}}}));
  EXPECT_THROW(make_tree({0, 1}, {0}), BugError);
}

TEST(GroupTree, CommonIsWhatAllHave) {
  const GroupTree a = make_tree({0, 0, 1, 1}, {0, 0, 0, 0}), b = make_tree({0, 1, 1, 1}, {0, 0, 0, 0});
  EXPECT_EQ(common_tree({a, a}), a);
  EXPECT_EQ(common_tree({a, b}), (GroupTree{{{0, 1, 2, 2}, {0, 0, 0, 0}}}));
  EXPECT_THROW(common_tree({a, make_tree({0}, {0})}), BugError);
}

TEST(GroupTree, KnowsOneNode) {
  EXPECT_TRUE(on_one_node({}));
  EXPECT_TRUE(on_one_node(make_tree({4, 4}, {0, 0})));
  EXPECT_FALSE(on_one_node(make_tree({4, 5}, {0, 0})));
}

}  // namespace
}  // namespace banyan::comm
