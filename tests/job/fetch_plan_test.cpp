#include "src/job/fetch_plan.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>

namespace banyan::job {
namespace {

TEST(FetchPlan, NothingLackingNothingFetched) {
  const auto plan = plan_fetches({.node = {0, 1}, .size = {5}, .wants = {{}, {}}, .has = {{0}, {}}});
  ASSERT_TRUE(plan);
  EXPECT_TRUE(plan->empty());
}

TEST(FetchPlan, AFileThatIsNowhere) {
  EXPECT_FALSE(plan_fetches({.node = {0, 1}, .size = {5, 5}, .wants = {{1}, {}}, .has = {{0}, {0}}}));
}

TEST(FetchPlan, SpreadsOverNodesAndRanks) {
  // Node 2 lacks all four files; nodes 0 and 1 have all of them, two ranks each.
  const auto plan = plan_fetches({.node = {0, 0, 1, 1, 2, 2},
                                  .size = {5, 5, 5, 5},
                                  .wants = {{}, {}, {0, 1, 2, 3}},
                                  .has = {{0, 1, 2, 3}, {0, 1, 2, 3}, {}}});
  ASSERT_TRUE(plan);
  EXPECT_EQ(*plan, (std::vector<Fetch>{{0, 0, 4}, {1, 2, 5}, {2, 1, 4}, {3, 3, 5}}));
}

RC_GTEST_PROP(FetchPlan, EveryWishIsGrantedOnceByANodeThatHasTheFile, ()) {
  const int nodes = *rc::gen::inRange(2, 8), files = *rc::gen::inRange(1, 12);
  FetchNeeds needs;
  for (int n = 0; n < nodes; ++n)
    needs.node.insert(needs.node.end(), static_cast<std::size_t>(*rc::gen::inRange(1, 4)), n);
  for (int f = 0; f < files; ++f) needs.size.push_back(*rc::gen::inRange(1, 1000));
  needs.wants.resize(static_cast<std::size_t>(nodes));
  needs.has.resize(static_cast<std::size_t>(nodes));
  for (int f = 0; f < files; ++f) {
    const auto holder = static_cast<std::size_t>(*rc::gen::inRange(0, nodes));
    for (std::size_t n = 0; n < needs.has.size(); ++n)
      if (n == holder || *rc::gen::inRange(0, 3) == 0)
        needs.has[n].insert(f);
      else if (*rc::gen::inRange(0, 2) == 0)
        needs.wants[n].insert(f);
  }
  const auto plan = plan_fetches(needs);
  RC_ASSERT(plan.has_value());
  std::map<std::pair<int, int>, int> granted;  // node, file
  for (const Fetch& f : *plan) {
    const int from = needs.node[static_cast<std::size_t>(f.from)], to = needs.node[static_cast<std::size_t>(f.to)];
    RC_ASSERT(needs.has[static_cast<std::size_t>(from)].contains(f.file));
    ++granted[{to, f.file}];
  }
  std::size_t wishes = 0;
  for (std::size_t n = 0; n < needs.wants.size(); ++n)
    for (const int f : needs.wants[n]) {
      ++wishes;
      const int times = granted[{static_cast<int>(n), f}];
      RC_ASSERT(times == 1);
    }
  RC_ASSERT(wishes == plan->size());
}

}  // namespace
}  // namespace banyan::job
