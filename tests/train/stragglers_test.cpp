#include "src/train/stragglers.hpp"

#include <gtest/gtest.h>

namespace banyan::train {
namespace {

TEST(WorkTimes, OnePauseIsNotTypical) {
  WorkTimes times;
  EXPECT_EQ(times.typical(), 0);
  times.add(3);
  EXPECT_EQ(times.typical(), 3);
  times.add(1);
  EXPECT_EQ(times.typical(), 1);
  for (int i = 0; i < kWindow; ++i) times.add(i == 4 ? 1000 : 2);
  EXPECT_EQ(times.typical(), 2);
  for (int i = 0; i < kWindow; ++i) times.add(5);
  EXPECT_EQ(times.typical(), 5);
}

/// Who is told when each of `windows` has these times; -1: nobody.
std::vector<int> told(Stragglers& judge, const std::vector<double>& seconds, int windows) {
  std::vector<int> ranks;
  for (int i = 0; i < windows; ++i) {
    const std::optional<Straggler> s = judge.judge(seconds);
    ranks.push_back(s ? static_cast<int>(s->rank) : -1);
  }
  return ranks;
}

static_assert(Stragglers::kWindows == 3);

TEST(Stragglers, WhoStaysSlowIsToldOnce) {
  Stragglers judge({0, 0, 0, 0});
  EXPECT_EQ(told(judge, {1.0, 1.1, 2.2, 0.9}, 2), (std::vector<int>{-1, -1}));
  const std::optional<Straggler> found = judge.judge(std::vector<double>{1.0, 1.1, 2.2, 0.9});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->rank, 2u);
  EXPECT_DOUBLE_EQ(found->factor, 2.2);
  EXPECT_EQ(told(judge, {1.0, 1.1, 2.2, 0.9}, 9), std::vector<int>(9, -1));
}

TEST(Stragglers, ShortStepsTakeMoreWindows) {
  Stragglers judge({0, 0});
  // 8 steps of 0.2 s each
  EXPECT_EQ(told(judge, {0.1, 0.2}, 7), (std::vector<int>{-1, -1, -1, -1, -1, -1, 1}));
}

TEST(Stragglers, OfSeveralTheSlowestComesFirst) {
  Stragglers judge({0, 0, 0, 0, 0});
  EXPECT_EQ(told(judge, {2, 1, 3, 1, 1}, 5), (std::vector<int>{-1, -1, 2, 0, -1}));
}

TEST(Stragglers, WhoIsSlowNowAndThenIsNot) {
  Stragglers judge({0, 0, 0});
  for (int i = 0; i < 7; ++i) {
    EXPECT_EQ(told(judge, {1, 10, 1}, 2), (std::vector<int>{-1, -1}));
    EXPECT_EQ(told(judge, {1, 1, 1}, 1), std::vector<int>{-1});
  }
}

TEST(Stragglers, OfTwoTheSlowerIsTold) {
  Stragglers judge({0, 0});
  EXPECT_EQ(told(judge, {10, 1}, 3), (std::vector<int>{-1, -1, 0}));
}

TEST(Stragglers, WorkOfAnotherKindIsNoMeasure) {
  // Two stages, the second one has ten times as much to do; a spare has nothing.
  Stragglers judge({0, 1, 0, 1, -1});
  EXPECT_EQ(told(judge, {1, 10, 1, 10, 0}, 5), std::vector<int>(5, -1));
  EXPECT_EQ(told(judge, {1, 10, 1, 25, 0}, 3), (std::vector<int>{-1, -1, 3}));
}

TEST(Stragglers, WhoHasNoLikeAndWhoDidNothingAreNotJudged) {
  Stragglers alone({0, 1, 2}), idle({0, 0});
  EXPECT_EQ(told(alone, {1, 50, 3}, 5), std::vector<int>(5, -1));
  EXPECT_EQ(told(idle, {0, 0}, 5), std::vector<int>(5, -1));
}

}  // namespace
}  // namespace banyan::train
