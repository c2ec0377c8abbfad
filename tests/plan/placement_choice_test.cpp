#include "src/plan/placement_choice.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "src/base/error.hpp"
#include "src/plan/step_on_network.hpp"
#include "tests/comm/topology/ib_wiring.hpp"
#include "tests/plan/placement_fabrics.hpp"

namespace banyan::plan {
namespace {

const comm::Links kLinks{};  // two to one above the leaves

TEST(PlacementChoice, LeavesAGoodOrderAlone) {
  const Layout layout = layout_of(2, 4, 1);
  const PlacementChoice choice = choose_placement({layout, fabric({0, 0, 1, 1}, 2), kLinks});
  EXPECT_EQ(choice.chosen.process_of, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(choice.reason, "the order of the ranks is as good as any");
}

// A way up that has lost most of its cables costs time, and decides about the order where intact ones do not.
TEST(PlacementChoice, CountsWhatWaysUpCarry) {
  const Layout layout = layout_of(4, 2, 1);
  parallel::Fabric f = fabric({0, 1, 0, 1, 0, 1, 0, 1}, 1);
  f.node_rate.assign(8, 1e10);
  f.leaf_rate.assign(2, 1e12);
  const auto given = [&] { return placements({layout, f, kLinks})[0].seconds(); };
  const double intact = given();
  EXPECT_NE(choose_placement({layout, f, kLinks}).reason.find("the order of the ranks"), std::string::npos);
  f.leaf_rate[1] = 1e9;
  EXPECT_GT(given(), 5 * intact);
  EXPECT_NE(choose_placement({layout, f, kLinks}).chosen.name, "ranks as given")
      << choose_placement({layout, f, kLinks}).reason;
  f.leaf_rate[1] = 0;  // nothing tells
  EXPECT_GT(given(), intact);
  f.leaf_rate[1] = 1e12;
  f.node_rate[3] = 1e8;
  EXPECT_GT(given(), 5 * intact);
}

/// Three leaves of one host each below a spine, two cables from each leaf; something is the matter with one of leaf
/// `weak`'s (-1: no leaf's): it is gone, a lane of four is left of it, or it has errors.
enum class Flaw : std::uint8_t { kMissing, kNarrow, kFaulty };
comm::Fabric three_leaves(int weak, Flaw flaw) {
  comm::Wiring w;
  const int spine = w.node(true, "spine");
  std::string errors;
  for (int l = 0; l < 3; ++l) {
    const int leaf = w.node(true, fmt::format("leaf{}", l));
    w.cable(w.node(false, fmt::format("n{} mlx5_0", l)), leaf, "4xNDR");
    w.cable(leaf, spine, "4xSDR");
    if (l != weak || flaw == Flaw::kFaulty) w.cable(leaf, spine, "4xSDR");
    if (l == weak && flaw == Flaw::kNarrow) w.cable(leaf, spine, "1xSDR");
    if (l == weak && flaw == Flaw::kFaulty)
      errors = fmt::format("Errors for {0:#x} \"leaf{1}\"\n   GUID {0:#x} port 3: [SymbolErrorCounter == 500]\n",
                           w.guid(leaf), l);
  }
  return w.fabric(errors);
}

// Two of three hosts are needed: not the one below a leaf whose way up is weaker than the others', if rank 0, which
// speaks for the job, is another's.
TEST(PlacementChoice, MovesAwayFromWeakLinks) {
  config::Config c = gpt2_124m();
  c.parallel.pipeline = 2;
  const Layout layout = make_layout(c, 3, 0);
  const auto chosen = [&](int weak, Flaw flaw) {
    const parallel::Fabric f = fabric_on(three_leaves(weak, flaw), {"n0", "n1", "n2"});
    return choose_placement({layout, f, kLinks}).chosen.process_of;
  };
  for (const Flaw flaw : {Flaw::kMissing, Flaw::kNarrow, Flaw::kFaulty}) {
    EXPECT_EQ(chosen(-1, flaw), (std::vector<int>{0, 1})) << "the order given";
    EXPECT_EQ(chosen(2, flaw), (std::vector<int>{0, 1})) << static_cast<int>(flaw);
    EXPECT_EQ(chosen(1, flaw), (std::vector<int>{0, 2})) << static_cast<int>(flaw);
  }
}

TEST(PlacementChoice, OneNodeHasNothingToChoose) {
  const Layout layout = layout_of(2, 2, 2);
  const PlacementChoice choice = choose_placement({layout, fabric({0}, 8), kLinks});
  EXPECT_EQ(choice.chosen.name, "ranks as given");
}

// A tensor group per leaf although hosts alternate between the leaves.
TEST(PlacementChoice, PutsTensorGroupsBelowOneLeaf) {
  const Layout layout = layout_of(4, 2, 1);
  const parallel::Fabric f = fabric({0, 1, 0, 1, 0, 1, 0, 1}, 1);
  const PlacementChoice choice = choose_placement({layout, f, kLinks});
  for (int group = 0; group < 2; ++group) {
    std::set<int> leaves;
    for (int t = 0; t < 4; ++t)
      leaves.insert(
          f.places[static_cast<std::size_t>(choice.chosen.process_of[static_cast<std::size_t>(4 * group + t)])].leaf);
    EXPECT_EQ(leaves.size(), 1u);
  }
  EXPECT_EQ(choice.reason.find("nodes "), 0u) << choice.reason;
  EXPECT_LT(choice.chosen.seconds(), kWorthMoving * placements({layout, f, kLinks})[0].seconds());
}

// Gradients are more than what goes along the pipeline: data groups stay below a leaf, stages are apart.
TEST(PlacementChoice, PutsTheDearerAxisBelowOneLeaf) {
  const Layout layout = layout_of(1, 2, 2);
  const Demand demand = demand_of(layout);
  const parallel::Fabric f = fabric({0, 1, 0, 1}, 1);
  const auto& order = choose_placement({layout, f, kLinks}).chosen.process_of;
  const auto leaf = [&](std::size_t i) { return f.places[static_cast<std::size_t>(order[i])].leaf; };
  ASSERT_GT(demand.data[0], demand.pipeline + demand.tied);
  EXPECT_EQ(leaf(0), leaf(1));  // logical 0 and 1: data ranks of the first stage
  EXPECT_NE(leaf(0), leaf(2));
}

TEST(PlacementChoice, NeverWorseThanTheOrderGivenAndAlwaysAPermutation) {
  std::mt19937 random(3);
  const std::vector<std::array<int, 3>> meshes{{1, 8, 1}, {2, 2, 2}, {4, 1, 2}, {1, 2, 4}, {2, 4, 1}, {1, 1, 8}};
  for (int round = 0; round < 200; ++round) {
    const auto& m = meshes[random() % meshes.size()];
    const Layout layout = layout_of(m[0], m[1], m[2]);
    const int per_node = 1 << random() % 3;
    std::vector<int> leaves;
    for (int n = 0; n < 8 / per_node; ++n) leaves.push_back(static_cast<int>(random() % 3));
    std::map<int, int> seen;  // leaves are numbered as they appear
    for (int& l : leaves) l = seen.emplace(l, static_cast<int>(seen.size())).first->second;
    const parallel::Fabric f = fabric(leaves, per_node);
    const auto all = placements({layout, f, kLinks});
    const PlacementChoice choice = choose_placement({layout, f, kLinks});
    EXPECT_LE(choice.chosen.seconds(), all[0].seconds());
    for (const PlacementPrice& p : all) {
      std::vector<int> sorted = p.process_of;
      std::sort(sorted.begin(), sorted.end());
      for (int r = 0; r < 8; ++r) EXPECT_EQ(sorted[static_cast<std::size_t>(r)], r) << p.name;
    }
    EXPECT_EQ(choose_placement({layout, f, kLinks}).chosen.process_of, choice.chosen.process_of);
  }
}

// Four data ranks of a stage do not fit below a leaf of three nodes and need not lie in one piece: two pairs do.
TEST(PlacementChoice, DividesAnAxisOverLevelsWhereThatIsCheaper) {
  const Layout layout = layout_of(2, 4, 2);
  parallel::Fabric f = dealt(4, 2, 2);  // 4 leaves of 2 nodes of 2 ranks
  f.tiers.push_back({.of_leaf = {0, 1, 0, 1}, .rate = {1e9, 1e9}});
  const PlacementQuestion q(layout, f, kLinks);
  const std::vector<PlacementPrice> all = placements(q);
  double blocks = 1e9, nested = 1e9;
  for (const PlacementPrice& p : all)
    (p.name.find("across") == std::string::npos ? blocks : nested) =
        std::min(p.name.find("across") == std::string::npos ? blocks : nested, p.seconds());
  EXPECT_LE(nested, blocks * (1 + 1e-9)) << "what orders of whole axes reach, nestings reach as well";
}

// Spares are the last ranks of the order, whatever it is.
TEST(PlacementChoice, LeavesSparesOut) {
  config::Config c = gpt2_124m();
  c.parallel.tensor = 2;
  c.parallel.pipeline = 2;
  const Layout layout = make_layout(c, 6, 0);
  const auto order = choose_placement({layout, fabric({0, 1, 0, 1, 0, 1}, 1), kLinks}).chosen.process_of;
  EXPECT_EQ(std::set<int>(order.begin(), order.end()).size(), 4u);
}

TEST(PlacementChoice, OfSixteenThousandRanks) {
  config::Config c = gpt2_124m();
  c.parallel.tensor = 4;
  c.parallel.pipeline = 4;
  c.train.batch = 8 * 1024;
  const Layout layout = make_layout(c, 16384, 0);
  std::mt19937 random(5);
  std::vector<int> leaves(2048);
  for (std::size_t n = 0; n < leaves.size(); ++n) leaves[n] = static_cast<int>(n < 100 ? n : random() % 100);
  const PlacementChoice choice = choose_placement({layout, fabric(leaves, 8), kLinks});
  EXPECT_EQ(choice.chosen.process_of.size(), 16384u);
}

TEST(PlacementChoice, WishesAreKnownOrRefused) {
  EXPECT_FALSE(pinned_file("auto"));
  EXPECT_FALSE(pinned_file("identity"));
  EXPECT_EQ(pinned_file("pinned:a:b"), "a:b");
  for (const char* wish : {"best", "pinned:", "Auto", ""}) EXPECT_THROW(pinned_file(wish), ConfigError) << wish;
}

TEST(PlacementChoice, PinnedRanksAreChecked) {
  EXPECT_EQ(read_pinned("# mine\n3 1\n2,0\n", "f", 4, 4), (std::vector<int>{3, 1, 2, 0}));
  const auto error = [](const char* text) -> std::string {
    try {
      read_pinned(text, "f", 4, 4);
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_EQ(error("0 1\n2 x\n"), "f:2: 'x' is not a rank from 0 to 3");
  EXPECT_EQ(error("0 1 2 4"), "f:1: '4' is not a rank from 0 to 3");
  EXPECT_EQ(error("0 1 2 99999999999"), "f:1: '99999999999' is not a rank from 0 to 3");
  EXPECT_EQ(error("0 1\n2 1"), "f:2: rank 1 is there twice");
  try {
    read_pinned("1 2", "f", 2, 4);
    ADD_FAILURE() << "rank 0 is a spare";
  } catch (const ConfigError& e) {
    EXPECT_STREQ(e.what(), "f: rank 0 is not there; it speaks for the job and cannot be a spare");
  }
  EXPECT_EQ(error("0 1 2").find("f: 3 ranks, but the mesh has 4; "), 0u);
}

}  // namespace
}  // namespace banyan::plan
