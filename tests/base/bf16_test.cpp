#include "src/base/bf16.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace banyan {
namespace {

float through(float x) { return BF16(x); }

TEST(BF16, EveryValueComesBack) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto value = std::bit_cast<float>(bits << 16);
    if (std::isnan(value))
      EXPECT_TRUE(std::isnan(through(value))) << bits;
    else
      EXPECT_EQ(BF16(value).bits, bits);
  }
}

TEST(BF16, RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(through(1.0f + 0x1p-8f), 1.0f);                       // a tie: the even one is below
  EXPECT_EQ(through(1.0f + 0x1p-7f + 0x1p-8f), 1.0f + 0x1p-6f);   // a tie: the even one is above
  EXPECT_EQ(through(1.0f + 0x1p-8f + 0x1p-20f), 1.0f + 0x1p-7f);  // above the middle
  EXPECT_EQ(through(-1.0f - 0x1p-8f - 0x1p-20f), -1.0f - 0x1p-7f);
  EXPECT_EQ(through(std::numeric_limits<float>::max()), std::numeric_limits<float>::infinity());
  EXPECT_EQ(through(0x1p-140f), 0.0f);
  EXPECT_TRUE(std::isnan(through(std::bit_cast<float>(0x7f800001u)))) << "a NaN whose upper half is infinity's";
  EXPECT_TRUE(std::isnan(through(std::bit_cast<float>(0xffffffffu))));
}

TEST(BF16, AddsAsFloats) {
  BF16 x = 256.0f;
  x += 1.0f;  // between 256 and 258, a tie
  EXPECT_EQ(static_cast<float>(x), 256.0f);
  x += 3.0f;
  EXPECT_EQ(static_cast<float>(x), 260.0f);
}

}  // namespace
}  // namespace banyan
