#include "src/plan/refine.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "src/plan/placement_choice.hpp"
#include "tests/plan/placement_fabrics.hpp"

namespace banyan::plan {
namespace {

const comm::Links kLinks{};

std::vector<int> sorted(std::vector<int> v) {
  std::sort(v.begin(), v.end());
  return v;
}

// The search keeps its own sums; what it says it found is priced anew from nothing.
TEST(Refine, IsNeverDearerAndAlwaysAPlacementOfWholeNodes) {
  std::mt19937 random(11);
  int better = 0;
  for (int round = 0; round < 60; ++round) {
    const auto mesh = std::vector<std::array<int, 3>>{{2, 6, 2}, {4, 3, 2}, {2, 12, 1}, {1, 8, 3}}[random() % 4];
    const Layout layout = layout_of(mesh[0], mesh[1], mesh[2]);
    std::vector<int> leaves(12);
    for (std::size_t n = 0; n < leaves.size(); ++n)
      leaves[n] = n < 4 ? static_cast<int>(n) : static_cast<int>(random() % 4);
    const parallel::Fabric f = fabric(leaves, 2);
    const PlacementQuestion q(layout, f, kLinks);
    std::vector<int> nodes(12), order;
    std::iota(nodes.begin(), nodes.end(), 0);
    std::shuffle(nodes.begin(), nodes.end(), random);
    for (int n : nodes) order.insert(order.end(), {2 * n, 2 * n + 1});
    const PlacementPrice start = q.price(order, "random");
    const PlacementPrice end = refine(q, start, {.seed = static_cast<std::uint64_t>(round)});
    EXPECT_LE(end.seconds(), start.seconds() * (1 + 1e-9));
    EXPECT_EQ(sorted(end.process_of), sorted(start.process_of));
    for (std::size_t i = 0; i < end.process_of.size(); i += 2)
      EXPECT_EQ(end.process_of[i] / 2, end.process_of[i + 1] / 2) << "what shared a node shares one";
    EXPECT_EQ(end.process_of, refine(q, start, {.seed = static_cast<std::uint64_t>(round)}).process_of);
    const Loads before = q.loads(start.process_of, Follows::kOwnPlaces),
                after = q.loads(end.process_of, Follows::kOwnPlaces);
    EXPECT_GE(congestion(q, after), least_congestion(q, before) * (1 - 1e-9));
    better += end.seconds() < 0.99 * start.seconds();
  }
  EXPECT_GT(better, 30);
}

// Ways that carry unlike rates, and switches above leaves: the sums that are kept are those made anew.
TEST(Refine, CountsEveryLevelAndEveryRate) {
  const Layout layout = layout_of(2, 12, 1);
  parallel::Fabric f = dealt(4, 3, 2);
  f.tiers.push_back({.of_leaf = {0, 1, 0, 1}, .rate = {2e9, 1e9}});
  f.node_rate.assign(12, 1e10);
  f.node_rate[7] = 1e9;
  f.leaf_rate = {0, 5e9, 1e9, 0};
  const PlacementQuestion q(layout, f, kLinks);
  std::vector<int> order(24);
  std::iota(order.begin(), order.end(), 0);
  std::mt19937 random(2);
  int better = 0;
  for (int round = 0; round < 20; ++round) {
    std::shuffle(order.begin(), order.end(), random);
    const PlacementPrice start = q.price(order, "");
    const PlacementPrice end = refine(q, start, {.seed = 1, .tries = 300});
    EXPECT_LE(end.seconds(), start.seconds());
    better += end.seconds() < start.seconds();
    EXPECT_EQ(refine(q, end, {.seed = 1, .tries = 1}).seconds(), end.seconds());
  }
  EXPECT_GT(better, 15);
}

// Nodes carry other loads where their groups lie otherwise: what is kept swap by swap is what is reckoned anew.
TEST(Refine, KeepsTheLoadsOfEveryWaySwapBySwap) {
  std::mt19937 random(5);
  for (int round = 0; round < 12; ++round) {
    const auto mesh = std::vector<std::array<int, 3>>{{2, 6, 2}, {4, 3, 2}, {2, 12, 1}, {1, 8, 3}}[random() % 4];
    const Layout layout = layout_of(mesh[0], mesh[1], mesh[2]);
    std::vector<int> leaves(12);
    for (std::size_t n = 0; n < leaves.size(); ++n)
      leaves[n] = n < 4 ? static_cast<int>(n) : static_cast<int>(random() % 4);
    parallel::Fabric f = fabric(leaves, 2);
    if (round % 2 == 0) f.tiers.push_back({.of_leaf = {0, 1, 0, 1}, .rate = {2e9, 1e9}});
    if (round % 3 == 0) {
      f.cables.assign(4, 2);
      for (int n = 0; n < 12; ++n) f.cable.push_back(n % 2);
    }
    const PlacementQuestion q(layout, f, kLinks);
    std::vector<int> order(24);
    std::iota(order.begin(), order.end(), 0);
    std::vector<std::pair<int, int>> swaps;
    for (int i = 0; i < 40; ++i) swaps.emplace_back(static_cast<int>(random() % 12), static_cast<int>(random() % 12));
    std::vector<std::vector<int>> placements;
    const std::vector<double> kept = congestion_of_swaps(q, q.price(order, ""), swaps, placements);
    ASSERT_EQ(kept.size(), placements.size());
    EXPECT_GT(kept.size(), 20u);
    for (std::size_t i = 0; i < kept.size(); ++i) {
      const double anew = congestion(q, q.loads(placements[i], Follows::kOwnPlaces));
      EXPECT_NEAR(kept[i], anew, 1e-9 * anew) << layout.mesh.str() << ", swap " << i;
    }
  }
}

// Two leaves of three nodes, groups of two: whatever the start, one group at most crosses.
TEST(Refine, FindsTheBestOfASmallCaseThatCanBeTriedOut) {
  const Layout layout = layout_of(2, 3, 1);
  const parallel::Fabric f = fabric({0, 1, 0, 1, 0, 1}, 1);
  const PlacementQuestion q(layout, f, kLinks);
  std::vector<int> order(6);
  std::iota(order.begin(), order.end(), 0);
  double best = 1e9;
  do {
    best = std::min(best, q.price(order, "").seconds());
  } while (std::next_permutation(order.begin(), order.end()));
  std::iota(order.begin(), order.end(), 0);
  EXPECT_NEAR(refine(q, q.price(order, "")).seconds(), best, 1e-9 * best);
  EXPECT_NEAR(choose_placement(q).chosen.seconds(), best, 0.1 * best) << "a smaller gain is not worth the move";
}

// A lost node's place is taken by the spare; everybody else stays where it was.
TEST(Refine, MovesAsFewRanksAsItCan) {
  const Layout layout = layout_of(2, 8, 1);
  const parallel::Fabric f = fabric({0, 0, 0, 0, 0, 1, 1, 1, 1, 1}, 2);  // ten nodes for eight
  PlacementQuestion q(layout, f, kLinks);
  // Eight nodes held the model; the one of the data ranks 2 and 3's parts is gone.
  q.before = {9, 9, 0, 0, -1, -1, 1, 1, 7, 7, 8, 8, 5, 5, 6, 6};
  const PlacementChoice choice = choose_placement(q);
  EXPECT_EQ(choice.chosen.moved, 2) << choice.reason;
  PlacementQuestion forgetful(layout, f, kLinks);
  EXPECT_LE(choice.chosen.seconds(), choose_placement(forgetful).chosen.seconds() * (1 + 1e-9));
}

TEST(Refine, LeavesRankZeroInTheMesh) {
  const Layout layout = layout_of(1, 4, 1);
  const parallel::Fabric f = fabric({0, 1, 1, 1, 1, 1}, 1);  // the other leaf would do alone
  const PlacementQuestion q(layout, f, kLinks);
  const PlacementPrice start = q.price({0, 1, 2, 3}, "");
  const PlacementPrice end = refine(q, start, {.tries = 500});
  EXPECT_NE(std::find(end.process_of.begin(), end.process_of.end(), 0), end.process_of.end());
}

}  // namespace
}  // namespace banyan::plan
