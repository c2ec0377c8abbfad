#include "comm/plans/record.hpp"

#include <gtest/gtest.h>

#include <set>

#include "comm/plans/choose.hpp"

namespace banyan::comm {
namespace {

TEST(Record, IsTheSameTwice) {
  for (int size : {1, 2, 8, 9, 64}) {
    const auto a = record_plans(size), b = record_plans(size);
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].digest, b[i].digest);
      EXPECT_EQ(a[i].generator, b[i].generator);
    }
  }
}

TEST(Record, CoversEveryGeneratorThatAdds) {
  std::set<std::string> generators;
  for (int size : {4, 12})
    for (const PlanRecord& r : record_plans(size)) generators.insert(r.generator);
  EXPECT_EQ(generators,
            (std::set<std::string>{"direct all-reduce, one round", "direct all-reduce", "direct reduce-scatter",
                                   "recursive doubling all-reduce", "ring all-reduce", "ring reduce-scatter"}));
}

TEST(Record, DigestSeesEveryStep) {
  const Call call{.kind = CollectiveKind::kAllReduce, .size = 12, .counts = {100000}};
  const Plan plan = make_plan(choose(call, false), call, {}, 0);
  const std::uint64_t whole = digest(plan);
  Plan changed = plan;
  ++changed.steps[0].peer;
  EXPECT_NE(digest(changed), whole);
  changed = plan;
  changed.steps.back().target.begin += 1;
  EXPECT_NE(digest(changed), whole);
  changed = plan;
  changed.steps.pop_back();
  EXPECT_NE(digest(changed), whole);
}

}  // namespace
}  // namespace banyan::comm
