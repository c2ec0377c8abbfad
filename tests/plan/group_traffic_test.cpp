#include "src/plan/group_traffic.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>

#include "comm/group_tree.hpp"
#include "src/plan/traffic.hpp"
#include "tests/plan/placement_fabrics.hpp"

namespace banyan::plan {
namespace {

const comm::Links kLinks{};

std::map<std::size_t, double> by_way(const GroupTraffic& t) { return {t.carried().begin(), t.carried().end()}; }

// Worked by hand: leaves of one and of three nodes.
TEST(GroupTraffic, SharesWhatCrossesAmongTheNodesOfALeaf) {
  const Ways ways(fabric({0, 1, 1, 1}, 2), kLinks);
  GroupTraffic t(ways);
  t.put({1, 0, 3, 2}, 60);
  const auto carried = by_way(t);
  EXPECT_DOUBLE_EQ(carried.at(0), 60) << "alone in its leaf: half there, half back";
  for (std::size_t n = 1; n < 4; ++n) EXPECT_DOUBLE_EQ(carried.at(n), 2 * 60 * (2.0 / 3 + 1.0 / 2 / 3));
  EXPECT_DOUBLE_EQ(carried.at(ways.way(1, 0)), 60);
  EXPECT_DOUBLE_EQ(carried.at(ways.way(1, 1)), 60);
  EXPECT_EQ(t.inside(), 0);
  std::map<std::pair<std::size_t, std::size_t>, double> sent;
  for (const GroupTraffic::Sent& s : t.sent()) sent[{s.phase, s.way}] += s.bytes;
  EXPECT_EQ(sent.count({0, 0}), 0u) << "nobody else in its leaf";
  EXPECT_DOUBLE_EQ((sent.at({0, 1})), 2 * 60 * (2.0 / 3));
  EXPECT_DOUBLE_EQ((sent.at({1, 1})), 2 * 60 * (1.0 / 2 / 3));
  EXPECT_DOUBLE_EQ(t.latency(), kLinks.leaf.latency + kLinks.across.latency);
}

// What nodes put onto their ways in all does not depend on where they sit: each but one passes on all there is, twice.
TEST(GroupTraffic, OfNodesInAllIsTheSameEverywhere) {
  for (const std::vector<int>& leaves :
       std::vector<std::vector<int>>{{0, 0, 0, 0, 0, 0}, {0, 1, 2, 3, 0, 1}, {0, 0, 0, 0, 0, 1}, {0, 1, 2, 3, 4, 5}}) {
    parallel::Fabric f = fabric(leaves, 1);
    f.tiers.push_back({.of_leaf = {0, 1, 0, 1, 1, 0}});
    const Ways ways(f, kLinks);
    GroupTraffic t(ways);
    t.put({0, 1, 2, 3, 4, 5}, 30);
    double sum = 0;
    for (const auto& [way, bytes] : t.carried()) sum += way < 6 ? bytes : 0;
    EXPECT_NEAR(sum, 2 * 30 * 5, 1e-9);
  }
}

TEST(GroupTraffic, InsideANodeTakesNoWay) {
  const Ways ways(fabric({0, 0}, 4), kLinks);
  GroupTraffic t(ways);
  t.put({1, 1, 1, 1}, 8);
  EXPECT_TRUE(t.carried().empty());
  EXPECT_EQ(t.inside(), sent_by_part(8, 4));
  EXPECT_TRUE(t.sent().empty());
  EXPECT_EQ(t.latency(), kLinks.node.latency);
  t.put({0, 1}, 8);
  EXPECT_EQ(t.carried().size(), 2u) << "nothing is left of the group before";
  EXPECT_EQ(t.inside(), 0);
}

TEST(GroupTraffic, ComesByTheCablesOfItsNodes) {
  parallel::Fabric f = fabric({0, 0, 0, 1, 1, 1}, 1);
  f.cables = {2, 2};
  f.cable = {0, 1, 0, 1, 0, 1};
  const Ways ways(f, kLinks);
  GroupTraffic t(ways);
  t.put({0, 2, 3, 4}, 40);
  const auto carried = by_way(t);
  EXPECT_DOUBLE_EQ(carried.at(static_cast<std::size_t>(ways.cable(0))), 40) << "both nodes of the leaf hang on it";
  EXPECT_EQ(carried.count(static_cast<std::size_t>(ways.cable(1))), 0u);
  EXPECT_DOUBLE_EQ(carried.at(static_cast<std::size_t>(ways.cable(3))), 20);
  EXPECT_DOUBLE_EQ(carried.at(static_cast<std::size_t>(ways.cable(4))), 20);
  t.put({0, 1, 2}, 40);
  EXPECT_EQ(t.carried().size(), 3u) << "inside a leaf no cable is taken";
}

// A group whose plan follows its own places puts the same onto the ways whether they are reckoned place by place or
// meeting by meeting.
TEST(GroupTraffic, IsThatOfItsMeetings) {
  std::mt19937 random(5);
  for (int round = 0; round < 60; ++round) {
    std::vector<int> leaves(8);
    for (int& leaf : leaves) leaf = static_cast<int>(random() % 3);
    leaves[0] = 2;
    parallel::Fabric f = fabric(leaves, 2);
    if (round % 2 == 1) {
      f.cables = {2, 2, 2};
      for (int n = 0; n < 8; ++n) f.cable.push_back(n % 2);
    }
    const Ways ways(f, kLinks);
    // As many members on each of its nodes, since the cables of one with more are told apart by meetings only.
    std::vector<int> nodes(8);
    std::iota(nodes.begin(), nodes.end(), 0);
    std::shuffle(nodes.begin(), nodes.end(), random);
    nodes.resize(2 + random() % 5);
    std::vector<int> members, leaf_of;
    for (int n : nodes) members.insert(members.end(), 1 + round % 3, n);
    for (int n : members) leaf_of.push_back(ways.place_of_node(1, n));
    GroupTraffic by_place(ways), by_meeting(ways);
    by_place.put(members, 60);
    by_meeting.put(meetings_of(comm::make_tree(members, leaf_of), static_cast<int>(members.size())), members, 60);
    const auto expected = by_way(by_place), carried = by_way(by_meeting);
    EXPECT_EQ(carried.size(), expected.size()) << "round " << round;
    for (const auto& [way, bytes] : expected) EXPECT_NEAR(carried.at(way), bytes, 1e-6) << "way " << way;
    EXPECT_NEAR(by_meeting.inside(), by_place.inside(), 1e-6);
    EXPECT_DOUBLE_EQ(by_meeting.latency(), by_place.latency());
  }
}

}  // namespace
}  // namespace banyan::plan
