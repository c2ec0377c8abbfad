#include "src/train/loss_stats.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "src/base/error.hpp"

namespace banyan::train {
namespace {

TEST(LossStats, SaysNothingBeforeItHasSeenEnough) {
  LossStats s;
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(s.z_score(100.0 * i), 0) << i;
    s.add(100.0 * i);
  }
  EXPECT_GT(s.z_score(5000), 3);
}

TEST(LossStats, TellsASpikeFromNoise) {
  LossStats s;
  for (int i = 0; i < 50; ++i) s.add(3.0 + (i % 2 ? 0.1 : -0.1));
  EXPECT_LT(std::abs(s.z_score(3.05)), 1.0);
  EXPECT_GT(s.z_score(6.0), 20.0);
  EXPECT_GT(s.z_score(6.0), 20.0) << "asking takes nothing in";
}

TEST(LossStats, EqualLossesAreNoSpike) {
  LossStats s;
  for (int i = 0; i < 50; ++i) s.add(3.0);
  EXPECT_EQ(s.z_score(3.0), 0);
}

TEST(LossStats, GoesOnFromItsTextToTheBit) {
  LossStats a, b;
  for (int i = 0; i < 250; ++i) a.add(std::sin(i) / 3);
  b.restore(a.text(), "x");
  EXPECT_EQ(a.text(), b.text());
  EXPECT_EQ(a.z_score(0.7), b.z_score(0.7));
  b.restore("", "x");
  EXPECT_EQ(b.text(), "");
  for (const char* text : {"1.5 nan", "0x1p2 seven", "inf"}) EXPECT_THROW(b.restore(text, "x"), DataError) << text;
  std::string many;
  for (int i = 0; i < 101; ++i) many += "1 ";
  EXPECT_THROW(b.restore(many, "x"), DataError);
}

}  // namespace
}  // namespace banyan::train
