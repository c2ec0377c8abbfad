#include "src/plan/nesting.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "tests/plan/placement_fabrics.hpp"

namespace banyan::plan {
namespace {

const comm::Links kLinks{};

parallel::MeshShape shape(int tensor, int data, int pipeline) {
  return {.tensor = tensor, .data = data, .pipeline = pipeline};
}

// The number of ways is that of an independent count: exponents of 2 spread over levels of fixed sums.
TEST(Nesting, CountsEveryWayOnce) {
  const parallel::MeshShape mesh = shape(8, 8, 4);
  const std::vector<Nesting> all = nestings(mesh, {8, 4});
  int count = 0;
  for (int t0 = 0; t0 <= 3; ++t0)
    for (int p0 = 0; p0 <= 2; ++p0)
      for (int t1 = 0; t1 <= 3 - t0; ++t1)
        for (int p1 = 0; p1 <= 2 - p0; ++p1) {
          const int d0 = 3 - t0 - p0, d1 = 2 - t1 - p1;
          count += d0 >= 0 && d1 >= 0 && d0 + d1 <= 3;
        }
  EXPECT_EQ(static_cast<int>(all.size()), count);
  std::set<std::vector<std::array<int, kMeshAxes>>> seen;
  for (const Nesting& n : all) {
    EXPECT_TRUE(seen.insert(n.factor).second);
    std::array<int, kMeshAxes> whole{1, 1, 1};
    for (const auto& f : n.factor)
      for (std::size_t a = 0; a < kMeshAxes; ++a) whole[a] *= f[a];
    EXPECT_EQ(whole, (std::array<int, kMeshAxes>{8, 4, 8}));
    ASSERT_EQ(n.factor.size(), 3u);
    EXPECT_EQ(n.factor[0][0] * n.factor[0][1] * n.factor[0][2], 8);
    EXPECT_EQ(n.factor[1][0] * n.factor[1][1] * n.factor[1][2], 4);
  }
  EXPECT_TRUE(nestings(shape(2, 3, 1), {4}).empty()) << "six ranks do not fill nodes of four";
  EXPECT_EQ(nestings(shape(3, 2, 1), {3}).size(), 1u);
}

// As many as the published count for this mesh on nodes of 8, leaves of 16 nodes, pods of 16 leaves.
TEST(Nesting, AreFewForSixteenThousandRanks) {
  EXPECT_LT(nestings(shape(16, 64, 16), {8, 16, 16}).size(), 2000u);
  EXPECT_GT(nestings(shape(16, 64, 16), {8, 16, 16}).size(), 100u);
}

TEST(Nesting, SaysWhereItsRanksLie) {
  EXPECT_EQ((Nesting{{{8, 1, 1}, {1, 1, 4}, {1, 2, 2}}}.str()),
            "in a node tensor 8; in a leaf data 4; across pipeline 2, data 2");
  EXPECT_EQ((Nesting{{{4, 2, 1}, {1, 1, 1}, {1, 1, 1}}}.str()), "in a node tensor 4, pipeline 2");
}

TEST(Nesting, LaysTheMeshOutSoThatUnitsStayTogether) {
  const parallel::MeshShape mesh = shape(2, 4, 2);
  const Nesting nesting{{{2, 1, 1}, {1, 2, 2}, {1, 1, 2}}};
  std::vector<int> slots(16);
  std::iota(slots.begin(), slots.end(), 0);
  const parallel::Mesh laid(mesh, lay_out(mesh, nesting, slots));
  for (int p = 0; p < 2; ++p)
    for (int d = 0; d < 4; ++d) {
      const int first = laid.process({.tensor = 0, .data = d, .pipeline = p});
      EXPECT_EQ(laid.process({.tensor = 1, .data = d, .pipeline = p}), first + 1) << "a node of two";
      EXPECT_EQ(first / 8, d / 2) << "half of the data ranks on each side, both stages with them";
    }
}

/// Ranks of units of `size` consecutive slots that lie under more than one place.
int cut_units(const parallel::Fabric& f, const std::vector<int>& slots, int size, auto place_of) {
  int cut = 0;
  for (std::size_t i = 0; i + static_cast<std::size_t>(size) <= slots.size(); i += static_cast<std::size_t>(size)) {
    std::set<int> places;
    for (std::size_t j = i; j < i + static_cast<std::size_t>(size); ++j)
      places.insert(place_of(f.places[static_cast<std::size_t>(slots[j])]));
    cut += places.size() > 1;
  }
  return cut;
}

TEST(PackedSlots, FillRaggedLeavesWithWholeUnits) {
  // Leaves of 5, 3 and 4 nodes of two ranks, mixed up.
  const parallel::Fabric f = fabric({0, 1, 0, 2, 0, 1, 2, 0, 2, 1, 0, 2}, 2);
  const std::vector<int> slots = packed_slots(f, {2, 2});
  std::vector<int> sorted = slots;
  std::sort(sorted.begin(), sorted.end());
  for (int r = 0; r < 24; ++r) EXPECT_EQ(sorted[static_cast<std::size_t>(r)], r);
  const auto node = [](const parallel::Fabric::Place& p) { return p.node; };
  const auto leaf = [](const parallel::Fabric::Place& p) { return p.leaf; };
  EXPECT_EQ(cut_units(f, slots, 2, node), 0);
  EXPECT_EQ(cut_units(f, slots, 4, leaf), 1) << "one node each of the first two leaves are left over";
}

TEST(PackedSlots, KeepUnitsBelowOneSwitchOfEveryTier) {
  // Four leaves of three nodes, two below each of two switches.
  parallel::Fabric f = dealt(4, 3, 1);
  f.tiers.push_back({.of_leaf = {0, 1, 0, 1}});
  const std::vector<int> slots = packed_slots(f, {1, 2, 3});
  const auto leaf = [](const parallel::Fabric::Place& p) { return p.leaf; };
  EXPECT_EQ(cut_units(f, slots, 2, leaf), 2) << "each switch has one unit of two left-over nodes";
  EXPECT_EQ(cut_units(f, slots, 6, [](const parallel::Fabric::Place& p) { return p.leaf % 2; }), 0);
}

TEST(UnitSizes, AreOneListWhereAllPlacesAreAlike) {
  EXPECT_EQ(unit_sizes(shape(2, 8, 1), dealt(2, 4, 2)), (std::vector<std::vector<int>>{{2, 4}}));
  parallel::Fabric f = dealt(4, 2, 2);
  f.tiers.push_back({.of_leaf = {0, 0, 1, 1}});
  EXPECT_EQ(unit_sizes(shape(2, 8, 1), f), (std::vector<std::vector<int>>{{2, 2, 2}}));
  EXPECT_EQ(unit_sizes(shape(2, 4, 1), fabric({0, 0, 0, 1}, 2)), (std::vector<std::vector<int>>{{2, 1}, {2, 2}}));
}

// On a fabric whose places are alike the estimate of a nesting is what its ranks come to, one by one.
TEST(Estimate, IsThePriceOnRegularFabrics) {
  for (const auto& [tensor, data, pipeline] :
       std::vector<std::array<int, 3>>{{2, 8, 2}, {4, 4, 2}, {1, 16, 2}, {4, 2, 4}, {2, 16, 1}, {1, 8, 4}}) {
    const Layout layout = layout_of(tensor, data, pipeline);
    parallel::Fabric f = dealt(4, 4, 2);
    f.tiers.push_back({.of_leaf = {0, 0, 1, 1}});
    PlacementQuestion q(layout, f, kLinks);
    // The tied ends are reckoned as one more call of the first stage, whose phases do not meet those of the others.
    q.demand.tied = 0;
    q.flows = flows_of(q.mesh, q.demand);
    if (pipeline > 2) q.computing.assign(static_cast<std::size_t>(pipeline), {1e-3, 2e-3});
    const std::vector<std::vector<int>> units = unit_sizes(layout.mesh, f);
    ASSERT_EQ(units.size(), 1u);
    const std::vector<Nesting> all = nestings(layout.mesh, units[0]);
    EXPECT_GT(all.size(), 1u);
    for (const Nesting& n : all) {
      const double exact = q.price(lay_out(layout.mesh, n, packed_slots(f, units[0])), "").seconds();
      EXPECT_NEAR(estimate(q, n), exact, 1e-9 * exact) << layout.mesh.str() << ": " << n.str();
    }
  }
}

}  // namespace
}  // namespace banyan::plan
