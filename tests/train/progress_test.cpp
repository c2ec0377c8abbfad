#include "src/train/progress.hpp"

#include <gtest/gtest.h>

namespace banyan::train {
namespace {

TEST(Bar, FillsFromNothingToAll) {
  EXPECT_EQ(bar(0, 10, 10), "[>         ]   0 %");
  EXPECT_EQ(bar(5, 10, 10), "[=====>    ]  50 %");
  EXPECT_EQ(bar(10, 10, 10), "[==========] 100 %");
}

TEST(Bar, StaysInsideItsBrackets) {
  EXPECT_EQ(bar(20, 10, 4), "[====] 100 %");
  EXPECT_EQ(bar(-1, 10, 4), "[>   ]   0 %");
  EXPECT_EQ(bar(0, 0, 4), "[>   ]   0 %");
}

}  // namespace
}  // namespace banyan::train
