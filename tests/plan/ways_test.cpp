#include "src/plan/ways.hpp"

#include <gtest/gtest.h>

#include "src/plan/layout.hpp"
#include "tests/plan/placement_fabrics.hpp"

namespace banyan::plan {
namespace {

const comm::Links kLinks{};

std::vector<double> rates(const Ways& ways, std::size_t level) {
  std::vector<double> list;
  for (std::size_t p = 0; p < ways.places(level); ++p) list.push_back(ways.rate(level, static_cast<int>(p)));
  return list;
}

TEST(Ways, TakeTheRateThatIsKnownAndTheUsualOneElsewhere) {
  parallel::Fabric f = dealt(4, 2, 1);
  f.leaf_rate = {0, 7e9};
  f.tiers.push_back({.of_leaf = {0, 0, 0, 1}, .rate = {0, 3e9}});
  const Ways ways(f, kLinks);
  ASSERT_EQ(ways.levels(), 3u);
  EXPECT_EQ(rates(ways, 0), std::vector<double>(8, kLinks.leaf.rate));
  EXPECT_EQ(rates(ways, 1), (std::vector<double>{kLinks.across.rate, 7e9, kLinks.across.rate, kLinks.across.rate}));
  EXPECT_EQ(rates(ways, 2), (std::vector<double>{3 * kLinks.across.rate, 3e9}))
      << "a switch that nothing tells of passes on what its three leaves send";
  EXPECT_EQ(ways.place(1, 5), 1);
  EXPECT_EQ(ways.place(2, 7), 1);
  EXPECT_EQ(ways.place_of_node(1, 5), 1);
  EXPECT_EQ(ways.size(), 8u + 4 + 2);
  EXPECT_EQ(ways.cable(0), -1);
}

TEST(Ways, HaveCablesWhereRoutesAreFixed) {
  parallel::Fabric f = fabric({0, 1, 0, 1}, 1);
  f.leaf_rate = {8e9, 6e9};
  f.cables = {2, 3};
  f.cable = {0, 2, 1, -1};
  const Ways ways(f, kLinks);
  ASSERT_EQ(ways.size(), 4u + 2 + 2 * (2 + 3)) << "down and up";
  EXPECT_EQ(ways.rates()[static_cast<std::size_t>(ways.cable_up(0, 1))], 4e9);
  EXPECT_NE(ways.cable_up(0, 1), ways.cable_up(1, 0));
  EXPECT_EQ(ways.cable_up(0, 1), ways.cable_up(0, 0)) << "the third of three is the first of two";
  EXPECT_NE(ways.cable(0), ways.cable(2));
  EXPECT_EQ(ways.rates()[static_cast<std::size_t>(ways.cable(0))], 4e9);
  EXPECT_EQ(ways.rates()[static_cast<std::size_t>(ways.cable(1))], 2e9);
  EXPECT_EQ(ways.cable(3), -1) << "nothing tells";
  f.cables = {1, 1};
  f.cable = {0, 0, 0, 0};
  EXPECT_EQ(Ways(f, kLinks).size(), 6u) << "one cable is the way itself";
}

TEST(Ways, OrderNodesSoThatThoseOfAPlaceLieTogether) {
  parallel::Fabric f = fabric({0, 1, 2, 0, 3, 1}, 1);
  f.tiers.push_back({.of_leaf = {0, 1, 0, 1}});
  const Ways ways(f, kLinks);
  std::vector<int> nodes(6);
  for (int n = 0; n < 6; ++n) nodes[static_cast<std::size_t>(ways.order(n))] = n;
  EXPECT_EQ(nodes.size(), 6u);
  for (std::size_t level = 1; level < 3; ++level) {
    int changes = 0;
    for (std::size_t i = 1; i < 6; ++i)
      changes += ways.place_of_node(level, nodes[i]) != ways.place_of_node(level, nodes[i - 1]);
    EXPECT_EQ(changes, level == 1 ? 3 : 1);
  }
}

}  // namespace
}  // namespace banyan::plan
