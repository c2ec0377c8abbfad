#include "comm/plan_choice.hpp"

#include <gtest/gtest.h>

#include "comm/group_tree.hpp"
#include "comm/plans/choose.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

PlanWishes wish(CollectiveKind kind, const std::string& what) {
  PlanWishes wishes = no_wishes();
  wishes[static_cast<std::size_t>(kind)] = what;
  return wishes;
}
const std::vector<PlanRange>& ranges(const GroupPlans& plans, CollectiveKind kind) {
  return plans.ranges[static_cast<std::size_t>(kind)];
}

TEST(PlanChoice, InsideANodeWithAWindowAllGoesThroughIt) {
  for (const int size : {2, 4, 8}) {
    const GroupPlans plans = choose_plans("g", size, {}, Links{}, true, no_wishes());
    for (const auto& list : plans.ranges) {
      ASSERT_EQ(list.size(), 1u);
      EXPECT_EQ(list[0].recipe.algorithm, "direct");
      EXPECT_EQ(list[0].up_to, PlanRange::kAnySize);
    }
  }
}

TEST(PlanChoice, EveryWishIsObeyedForEverySize) {
  for (int k = 0; k < kCollectiveKinds; ++k) {
    const auto kind = static_cast<CollectiveKind>(k);
    for (const std::string& name : wishes_for(kind)) {
      if (name == "auto" || name == kShared) continue;
      const GroupPlans plans = choose_plans("g", 4, {}, Links{}, false, wish(kind, name));
      ASSERT_EQ(ranges(plans, kind).size(), 1u) << name;
      EXPECT_EQ(ranges(plans, kind)[0].recipe.algorithm, name);
      EXPECT_NO_THROW(read_book(write_book({Links{}, {plans}}), "f")) << name;
    }
    EXPECT_THROW(choose_plans("g", 4, {}, Links{}, false, wish(kind, "fastest")), ConfigError);
  }
}

TEST(PlanChoice, SharedIsDirectWhereThereIsAWindow) {
  const auto shared = wish(CollectiveKind::kAllReduce, "shared");
  const GroupPlans inside = choose_plans("g", 4, {}, Links{}, true, shared);
  EXPECT_EQ(ranges(inside, CollectiveKind::kAllReduce)[0].recipe.algorithm, "direct");
  const GroupTree spread = make_tree({0, 1, 2, 3}, {0, 0, 0, 0});
  EXPECT_TRUE(choose_plans("g", 4, spread, Links{}, false, shared)
                  .same_plans(choose_plans("g", 4, spread, Links{}, false, no_wishes())));
}

// Latencies and rates that are a fifth off lead to the same plans: they are measured.
TEST(PlanChoice, SmallDifferencesDoNotMatterOnOneNode) {
  for (const int size : {2, 4, 8}) {
    Links a, b;
    b.node.latency *= 1.2;
    b.node.rate /= 1.2;
    EXPECT_TRUE(choose_plans("g", size, {}, a, true, no_wishes())
                    .same_plans(choose_plans("g", size, {}, b, true, no_wishes())));
  }
}

TEST(PlanChoice, IsNeverClearlyWorseThanTheUsualPlan) {
  const GroupTree tree = make_tree({0, 0, 1, 1, 2, 2, 3, 3}, {0, 0, 0, 0, 1, 1, 1, 1});
  const Links links;
  const GroupPlans plans = choose_plans("g", 8, tree, links, false, no_wishes());
  for (std::int64_t bytes = 1 << 10; bytes <= 64 << 20; bytes *= 4) {
    const Call call = even_call(CollectiveKind::kAllReduce, 8, bytes);
    EXPECT_LE(price(plans.recipe(call.kind, bytes), call, tree, links, false),
              1.0001 * price(choose(call, false), call, tree, links, false))
        << bytes;
  }
}

TEST(PlanChoice, SpareForManyRanks) {
  const std::vector<int> nodes(512, 0);
  std::vector<int> node, leaf;
  for (int r = 0; r < 512; ++r) node.push_back(r / 8), leaf.push_back(r / 64);
  const GroupPlans plans = choose_plans("world", 512, make_tree(node, leaf), Links{}, false, no_wishes());
  EXPECT_NO_THROW(read_book(write_book({Links{}, {plans}}), "f"));
}

}  // namespace
}  // namespace banyan::comm
