#include "src/train/bad_steps.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"

namespace banyan::train {
namespace {

config::Config wish(const char* policy, double spike, int most) {
  config::Config c;
  c.train.on_bad_step = policy;
  c.train.spike = spike;
  c.train.bad_steps = most;
  return c;
}

/// Twenty losses that go up and down a little.
void warm_up(BadSteps& bad) {
  for (int s = 0; s < 20; ++s) ASSERT_EQ(bad.judge(s, s, s % 2 ? 3.1 : 2.9, ""), Judgement::kGood);
}

std::string error_of(BadSteps& bad, double loss, const std::string& wrong) {
  try {
    bad.judge(20, 20, loss, wrong);
  } catch (const NumericsError& e) {
    return e.what();
  }
  return "no error";
}

TEST(BadSteps, StopAtWhatIsNotFiniteAndAtSpikesThatSomebodyAskedFor) {
  BadSteps plain(wish("stop", 0, 5)), strict(wish("stop", 5, 5));
  warm_up(plain);
  warm_up(strict);
  EXPECT_EQ(plain.judge(20, 20, 300, ""), Judgement::kGood) << "a loss of 300 is finite";
  EXPECT_EQ(strict.judge(20, 20, 3.2, ""), Judgement::kGood);
  EXPECT_EQ(error_of(strict, 9, "").find("the loss of step 21 is 9.0000, "), 0u);
  EXPECT_EQ(error_of(plain, 3, "the gradient of step 21 is not finite")
                .find("the gradient of step 21 is not finite; the last"),
            0u);
}

TEST(BadSteps, SkipDropsBatchesUntilThereAreTooMany) {
  BadSteps bad(wish("skip", 5, 2));
  warm_up(bad);
  EXPECT_EQ(bad.judge(20, 20, 9, ""), Judgement::kSkip);
  EXPECT_GT(bad.z(), 5);
  EXPECT_EQ(bad.judge(21, 21, 1, "not finite"), Judgement::kSkip);
  EXPECT_EQ(bad.why(), "not finite");
  EXPECT_EQ(bad.judge(22, 22, 3, ""), Judgement::kGood) << "what was skipped did not move the mean";
  EXPECT_EQ(bad.judge(23, 23, 9, ""), Judgement::kSkip);
  EXPECT_EQ(bad.judge(24, 24, 9, ""), Judgement::kSkip);
  EXPECT_EQ(bad.dropped_text(), "20-21,23-24");
  EXPECT_NE(error_of(bad, 9, "").find("3 bad steps in a row are more than train.bad_steps = 2"), std::string::npos);
}

TEST(BadSteps, RollBackCountsUntilACommit) {
  BadSteps bad(wish("rollback", 0, 2));
  warm_up(bad);
  EXPECT_EQ(bad.judge(20, 20, 1, "not finite"), Judgement::kRollBack);
  BadSteps again(wish("rollback", 0, 2));
  again.restore(bad.losses_text(), "3-4", "c");
  again.roll_back(15, 20, bad.in_a_row());
  EXPECT_EQ(again.dropped_text(), "3-4,15-20");
  EXPECT_EQ(again.judge(15, 21, 3, ""), Judgement::kGood);
  EXPECT_EQ(again.judge(16, 22, 3, "not finite"), Judgement::kRollBack);
  BadSteps third = again;
  EXPECT_NE(error_of(third, 1, "not finite").find("3 bad steps in a row"), std::string::npos)
      << "a good step on the way is no progress";
  again.committed(0);
  EXPECT_EQ(again.judge(17, 23, 3, "not finite"), Judgement::kRollBack);
}

// A job that comes back judges like one that never left.
TEST(BadSteps, GoOnFromACheckpoint) {
  BadSteps a(wish("skip", 3, 5)), b(wish("skip", 3, 5));
  warm_up(a);
  a.judge(20, 20, 9, "");
  b.restore(a.losses_text(), a.dropped_text(), "c");
  EXPECT_EQ(b.dropped(), (std::vector<BatchRange>{{20, 20}}));
  for (double loss : {3.05, 3.2, 3.31, 3.4, 2.0}) {
    EXPECT_EQ(a.judge(21, 21, loss, ""), b.judge(21, 21, loss, "")) << loss;
    EXPECT_EQ(a.z(), b.z());
  }
  for (const char* text : {"5", "5-4", "1-2,2-3", "a-b", "-"})
    EXPECT_THROW(b.restore("", text, "c"), DataError) << text;
}

}  // namespace
}  // namespace banyan::train
