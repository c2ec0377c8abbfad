#include "src/train/lr.hpp"

#include <gtest/gtest.h>

namespace banyan::train {
namespace {

config::optimizer_section options(const char* schedule) {
  config::optimizer_section o;
  o.lr = 1.0;
  o.min_lr = 0.1;
  o.warmup = 10;
  o.decay = 20;
  o.schedule = schedule;
  return o;
}

TEST(LearningRate, RisesLinearlyAndReachesTheTopWithTheLastWarmUpStep) {
  for (const char* schedule : {"constant", "linear", "cosine", "wsd"}) {
    EXPECT_DOUBLE_EQ(learning_rate(options(schedule), 0, 100), 0.1) << schedule;
    EXPECT_DOUBLE_EQ(learning_rate(options(schedule), 9, 100), 1.0) << schedule;
    EXPECT_DOUBLE_EQ(learning_rate(options(schedule), 10, 100), 1.0) << schedule;
  }
}

TEST(LearningRate, EndsAtTheLowestValueWithTheLastStep) {
  EXPECT_DOUBLE_EQ(learning_rate(options("constant"), 99, 100), 1.0);
  for (const char* schedule : {"linear", "cosine", "wsd"})
    EXPECT_NEAR(learning_rate(options(schedule), 99, 100), 0.1, 1e-12) << schedule;
}

TEST(LearningRate, NeverRisesAfterWarmUp) {
  for (const char* schedule : {"constant", "linear", "cosine", "wsd"})
    for (int step = 10; step < 99; ++step)
      EXPECT_GE(learning_rate(options(schedule), step, 100), learning_rate(options(schedule), step + 1, 100))
          << schedule << " " << step;
}

TEST(LearningRate, HalfWayValues) {
  config::optimizer_section o = options("linear");
  o.warmup = 0;
  EXPECT_NEAR(learning_rate(o, 50, 101), 0.55, 1e-12);
  o.schedule = "cosine";
  EXPECT_NEAR(learning_rate(o, 50, 101), 0.55, 1e-12);
  o.schedule = "wsd";
  EXPECT_DOUBLE_EQ(learning_rate(o, 80, 101), 1.0);
  EXPECT_NEAR(learning_rate(o, 90, 101), 0.55, 1e-12);
}

TEST(LearningRate, ShortRunsStayInRange) {
  for (const char* schedule : {"constant", "linear", "cosine", "wsd"})
    for (std::int64_t steps : {1, 2, 5, 11})
      for (std::int64_t step = 0; step < steps; ++step) {
        const double lr = learning_rate(options(schedule), step, steps);
        EXPECT_GE(lr, 0.1 - 1e-12) << schedule << " " << step << " of " << steps;
        EXPECT_LE(lr, 1.0) << schedule << " " << step << " of " << steps;
      }
}

}  // namespace
}  // namespace banyan::train
