#include "src/plan/link_load.hpp"

#include <gtest/gtest.h>

#include "tests/plan/placement_fabrics.hpp"

namespace banyan::plan {
namespace {

const comm::Links kLinks{};
constexpr auto kTensor = static_cast<std::size_t>(MeshAxis::kTensor);
constexpr auto kPipeline = static_cast<std::size_t>(MeshAxis::kPipeline);

// Stages are told apart; both phases of the first follow each other.
TEST(Loads, AreToldApartByStage) {
  const Ways ways(fabric({0, 0, 1, 1}, 1), kLinks);
  const Loads loads = loads_of({{MeshAxis::kTensor, 100, {0, 1, 2, 3}, 0},
                                {MeshAxis::kTensor, 50, {0, 2}, 1},
                                {MeshAxis::kTensor, 30, {1, 3}, 1}},
                               2, ways, {0, 1, 2, 3});
  const AxisLoad& load = loads[kTensor];
  EXPECT_DOUBLE_EQ(load.carried(0), 2 * 100 * (1.0 / 2 + 1.0 / 4) + 50);
  const std::size_t leaf = ways.way(1, 0) * 2;
  EXPECT_DOUBLE_EQ(load.bytes[leaf], 100);
  EXPECT_DOUBLE_EQ(load.bytes[leaf + 1], 80);
  EXPECT_DOUBLE_EQ(load.phases[0], 100 / kLinks.leaf.rate + 100 / kLinks.across.rate);
  EXPECT_DOUBLE_EQ(load.latency[1], 2 * kLinks.across.latency) << "up and down";
  EXPECT_EQ(loads[kPipeline].carried(0), 0);
}

// A stream goes once through the way of each end and of each end's leaf, and nowhere else.
TEST(Loads, OfAStream) {
  const Ways ways(fabric({0, 0, 1, 1}, 2), kLinks);
  const Loads loads = loads_of({{MeshAxis::kPipeline, 10, {0, 1}}, {MeshAxis::kPipeline, 10, {1, 2}}}, 1, ways,
                               {0, 1, 4, 3, 2, 5, 6, 7});
  EXPECT_EQ(loads[kPipeline].inside[0], 10) << "ranks 0 and 1 share a node";
  for (const auto& [node, bytes] : std::vector<std::pair<int, double>>{{0, 10}, {1, 0}, {2, 10}, {3, 0}})
    EXPECT_EQ(loads[kPipeline].carried(ways.way(0, node)), bytes);
  for (int leaf : {0, 1}) EXPECT_EQ(loads[kPipeline].carried(ways.way(1, leaf)), 10);
  EXPECT_EQ(loads[kPipeline].latency[0], kLinks.across.latency) << "one way at a time";
}

TEST(Loads, OfGroupsOnTheSameNodesAddUp) {
  const Ways ways(fabric({0, 0, 0}, 2), kLinks);
  const std::vector<int> as_given{0, 1, 2, 3, 4, 5};
  const auto carried = [&](const std::vector<Flow>& flows) {
    return loads_of(flows, 1, ways, as_given)[kTensor].carried(ways.way(0, 0));
  };
  const Flow one{MeshAxis::kTensor, 100, {0, 2}, 0}, alike{MeshAxis::kTensor, 100, {1, 3}, 0},
      larger{MeshAxis::kTensor, 150, {1, 3}, 0}, elsewhere{MeshAxis::kTensor, 100, {1, 5}, 0};
  EXPECT_DOUBLE_EQ(carried({one}), 100);
  EXPECT_DOUBLE_EQ(carried({one, alike}), 200);
  EXPECT_DOUBLE_EQ(carried({one, larger}), 250);
  EXPECT_DOUBLE_EQ(carried({one, elsewhere}), 200);
}

// One plan for both groups: members 0 and 1 share a leaf in the first, but not in the second, so that nobody goes by
// it.
TEST(Loads, FollowThePlacesThatAllGroupsShare) {
  const Ways ways(fabric({0, 0, 1, 1, 0, 1, 0, 1}, 1), kLinks);
  const std::vector<Flow> flows{{MeshAxis::kData, 80, {0, 1, 2, 3}, 0}, {MeshAxis::kData, 80, {4, 5, 6, 7}, 0}};
  const std::vector<int> as_given{0, 1, 2, 3, 4, 5, 6, 7};
  const auto across = [&](Follows follows) {
    return loads_of(flows, 1, ways, as_given, follows)[static_cast<std::size_t>(MeshAxis::kData)].carried(
        ways.way(1, 0));
  };
  EXPECT_DOUBLE_EQ(across(Follows::kOwnPlaces), 2 * 80);
  // Two members of each leaf send two of the other one a quarter, there and back.
  EXPECT_NEAR(across(Follows::kCommonPlaces), 2 * (2 * 2 * 2 * 80 / 4.0), 1e-6);
  EXPECT_NEAR(
      loads_of({flows[0]}, 1, ways, as_given)[static_cast<std::size_t>(MeshAxis::kData)].carried(ways.way(1, 0)), 80,
      1e-6)
      << "alone it follows its own";
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
