#include "src/train/loss_stats.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace banyan::train {
namespace {

TEST(LossStats, SaysNothingBeforeItHasSeenEnough) {
  LossStats s;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(s.z_score(100.0 * i), 0) << i;
}

TEST(LossStats, TellsASpikeFromNoise) {
  LossStats s;
  for (int i = 0; i < 50; ++i) s.z_score(3.0 + (i % 2 ? 0.1 : -0.1));
  EXPECT_LT(std::abs(s.z_score(3.05)), 1.0);
  EXPECT_GT(s.z_score(6.0), 20.0);
}

TEST(LossStats, EqualLossesAreNoSpike) {
  LossStats s;
  for (int i = 0; i < 50; ++i) EXPECT_EQ(s.z_score(3.0), 0);
}

}  // namespace
}  // namespace banyan::train
