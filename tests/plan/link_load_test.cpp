#include "src/plan/link_load.hpp"

#include <gtest/gtest.h>

#include "tests/plan/placement_fabrics.hpp"

namespace banyan::plan {
namespace {

const comm::Links kLinks{};
constexpr auto kTensor = static_cast<std::size_t>(MeshAxis::kTensor);
constexpr auto kPipeline = static_cast<std::size_t>(MeshAxis::kPipeline);

TEST(Ways, TakeTheRateThatIsKnownAndTheUsualOneElsewhere) {
  parallel::Fabric f = dealt(4, 2, 1);
  f.leaf_rate = {0, 7e9};
  f.tiers.push_back({.of_leaf = {0, 0, 0, 1}, .rate = {0, 3e9}});
  const Ways ways(f, kLinks);
  ASSERT_EQ(ways.levels(), 3u);
  EXPECT_EQ(ways.rates(0), std::vector<double>(8, kLinks.leaf.rate));
  EXPECT_EQ(ways.rates(1), (std::vector<double>{kLinks.across.rate, 7e9, kLinks.across.rate, kLinks.across.rate}));
  EXPECT_EQ(ways.rates(2), (std::vector<double>{3 * kLinks.across.rate, 3e9}))
      << "a switch that nothing tells of passes on what its three leaves send";
  EXPECT_EQ(ways.place(1, 5), 1);
  EXPECT_EQ(ways.place(2, 7), 1);
}

// Worked by hand: four ranks on four nodes of two leaves, one group of all.
TEST(Loads, OfAnAllReduce) {
  const parallel::Fabric f = fabric({0, 0, 1, 1}, 1);
  const Ways ways(f, kLinks);
  const Loads loads = loads_of({{MeshAxis::kTensor, 100, {0, 1, 2, 3}}}, ways, {0, 1, 2, 3});
  EXPECT_EQ(loads[kTensor].bytes[0], std::vector<double>(4, 2 * 100 * 3.0 / 4));
  EXPECT_EQ(loads[kTensor].bytes[1], std::vector<double>(2, 2 * 100 * 1.0 / 2));
  EXPECT_EQ(loads[kTensor].widest, comm::Distance::kAcross);
  EXPECT_EQ(loads[kTensor].inside, 0);
  EXPECT_EQ(loads[kPipeline].bytes[0], std::vector<double>(4, 0.0));
  EXPECT_DOUBLE_EQ(loads[kTensor].seconds(ways, kLinks, 3),
                   3 * kLinks.across.latency + std::max(150 / kLinks.leaf.rate, 100 / kLinks.across.rate));
}

// A stream goes once through the way of each end and of each end's leaf, and nowhere else.
TEST(Loads, OfAStream) {
  const Ways ways(fabric({0, 0, 1, 1}, 2), kLinks);
  const Loads loads =
      loads_of({{MeshAxis::kPipeline, 10, {0, 1}}, {MeshAxis::kPipeline, 10, {1, 2}}}, ways, {0, 1, 4, 3, 2, 5, 6, 7});
  EXPECT_EQ(loads[kPipeline].inside, 10) << "ranks 0 and 1 share a node";
  EXPECT_EQ(loads[kPipeline].bytes[0], (std::vector<double>{10, 0, 10, 0}));
  EXPECT_EQ(loads[kPipeline].bytes[1], (std::vector<double>{10, 10}));
}

TEST(PlacementQuestion, CountsRanksThatWouldHaveToFetchTheirPart) {
  const Layout layout = layout_of(1, 4, 1);
  const parallel::Fabric f = fabric({0, 0, 1, 1}, 1);
  PlacementQuestion q(layout, f, kLinks);
  EXPECT_EQ(q.price({0, 1, 2, 3}, "").moved, 0);
  q.before = {0, 2, 1, -1};
  EXPECT_EQ(q.price({0, 1, 2, 3}, "").moved, 3);
  EXPECT_EQ(q.price({0, 2, 1, 3}, "").moved, 1);
}

}  // namespace
}  // namespace banyan::plan
