#include "src/train/prediction.hpp"

#include <gtest/gtest.h>

namespace banyan::train {
namespace {

TEST(Prediction, SaysSoWhenItIsFarOff) {
  plan::Machine machine;
  machine.name = "a machine";
  EXPECT_EQ(far_off(1.0, 1.2, machine), "");
  EXPECT_EQ(far_off(1.2, 1.0, machine), "");
  for (const double measured : {0.7, 1.4}) {
    const std::string text = far_off(1.0, measured, machine);
    EXPECT_NE(text.find("1 s were predicted"), std::string::npos) << text;
    EXPECT_NE(text.find("a machine"), std::string::npos) << text;
    EXPECT_NE(text.find("run.machine"), std::string::npos) << text;
  }
}

TEST(Prediction, NothingIsPredictedWithoutAJob) {
  Prediction p;
  EXPECT_EQ(p.seconds(), 0);
}

}  // namespace
}  // namespace banyan::train
