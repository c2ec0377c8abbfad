#include "src/plan/recompute.hpp"

#include <gtest/gtest.h>

#include "src/plan/layout.hpp"
#include "src/plan/report.hpp"
#include "tests/plan/test_config.hpp"

namespace banyan::plan {
namespace {

std::int64_t needs(config::Config c, const std::string& recompute, int ranks) {
  c.train.recompute = recompute;
  return largest_rank(make_layout(c, ranks, 0), c);
}

TEST(Recompute, TheLeastThatFitsIsChosen) {
  config::Config c = gpt2_124m();
  const std::int64_t none = needs(c, "none", 1), cheap = needs(c, "cheap", 1), block = needs(c, "block", 1);
  EXPECT_LT(cheap, none);
  EXPECT_LT(block, cheap);
  c.train.recompute = "auto";
  const auto chosen = [&](std::int64_t memory) { return choose_recompute(c, 1, 0, memory).recompute; };
  EXPECT_EQ(chosen(none), "none");
  EXPECT_EQ(chosen(none - 1), "cheap");
  EXPECT_EQ(chosen(cheap), "cheap");
  EXPECT_EQ(chosen(cheap - 1), "block");
  EXPECT_EQ(chosen(1), "block") << "what does not fit at all is refused later, with the numbers of the node";
  EXPECT_EQ(chosen(0), "none") << "memory that is not known";
  const RecomputeChoice two = choose_recompute(c, 1, 0, cheap);
  EXPECT_EQ(two.without, none);
  EXPECT_EQ(two.needed, cheap);
  EXPECT_NE(two.str().find("cheap: a rank needs"), std::string::npos) << two.str();
}

TEST(Recompute, SplitBackwardPassesKeepWhatTheyNeed) {
  config::Config c = gpt2_124m();
  c.parallel.pipeline = 2;
  c.parallel.schedule = "zb-h1";
  c.train.recompute = "auto";
  EXPECT_EQ(choose_recompute(c, 2, 0, 1).recompute, "cheap");
}

}  // namespace
}  // namespace banyan::plan
