#include "sim/draw.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "tests/plan/placement_fabrics.hpp"

namespace banyan::sim {
namespace {

const comm::Links kLinks{};

TEST(Draw, GivesAsManyDifferentPlacementsAsAskedForWithTheRanksAsGivenFirst) {
  const plan::Layout layout = plan::layout_of(4, 4, 2);
  const parallel::Fabric fabric = plan::dealt(2, 4, 4);
  const plan::PlacementQuestion question(layout, fabric, kLinks);
  const auto drawn = draw_placements(question, 24, 1);
  ASSERT_EQ(drawn.size(), 24u);
  std::set<std::vector<int>> different;
  for (const auto& p : drawn) {
    different.insert(p.process_of);
    std::vector<int> sorted = p.process_of, all(32);
    std::sort(sorted.begin(), sorted.end());
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(sorted, all) << p.name;
    EXPECT_EQ(question.price(p.process_of, p.name).seconds(), p.seconds()) << p.name;
  }
  EXPECT_EQ(different.size(), 24u);
  EXPECT_EQ(drawn[0].name, "ranks as given");
  EXPECT_TRUE(std::is_sorted(drawn[0].process_of.begin(), drawn[0].process_of.end()));
}

TEST(Draw, DependsOnTheSeedOnly) {
  const plan::Layout layout = plan::layout_of(2, 4, 2);
  const parallel::Fabric fabric = plan::dealt(2, 4, 2);
  const plan::PlacementQuestion question(layout, fabric, kLinks);
  const auto names = [&](std::uint64_t seed) {
    std::vector<std::vector<int>> orders;
    for (const auto& p : draw_placements(question, 20, seed)) orders.push_back(p.process_of);
    return orders;
  };
  EXPECT_EQ(names(7), names(7));
  EXPECT_NE(names(7), names(8));
}

// Random nodes keep the ranks of a node together, on their places in it.
TEST(Draw, MovesWholeNodesUnlessItSaysRanks) {
  const plan::Layout layout = plan::layout_of(4, 8, 1);
  const parallel::Fabric fabric = plan::dealt(2, 4, 4);
  for (const auto& p : draw_placements({layout, fabric, kLinks}, 24, 3)) {
    if (p.name.find("ranks in random order") != std::string::npos) continue;
    if (p.name.find("tensor, ") == std::string::npos && p.name.find("ranks as given") == std::string::npos) continue;
    for (std::size_t i = 0; i + 1 < p.process_of.size(); ++i) {
      if (i % 4 == 3) continue;
      EXPECT_EQ(p.process_of[i + 1], p.process_of[i] + 1) << p.name;
    }
  }
}

TEST(Draw, EndsWhereThereAreNoMorePlacements) {
  const plan::Layout layout = plan::layout_of(1, 2, 1);
  const parallel::Fabric fabric = plan::dealt(2, 1, 1);
  const auto drawn = draw_placements({layout, fabric, kLinks}, 24, 1);
  EXPECT_EQ(drawn.size(), 2u);
}

}  // namespace
}  // namespace banyan::sim
