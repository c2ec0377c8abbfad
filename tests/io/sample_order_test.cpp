#include "io/sample_order.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "src/base/error.hpp"

namespace banyan::io {
namespace {

TEST(SampleOrder, IsABijectionOfEverySmallRangeForSeveralKeys) {
  for (std::uint64_t n = 1; n <= 300; ++n)
    for (std::uint64_t key : {std::uint64_t{0}, std::uint64_t{7}, ~std::uint64_t{0}}) {
      const SampleOrder order(n, key);
      std::vector<bool> seen(n, false);
      for (std::uint64_t i = 0; i < n; ++i) {
        const std::uint64_t image = order(i);
        ASSERT_LT(image, n);
        ASSERT_FALSE(seen[image]) << "n " << n << " key " << key << " i " << i;
        seen[image] = true;
      }
    }
}

TEST(SampleOrder, IsABijectionOfLargerRanges) {
  for (std::uint64_t n : {std::uint64_t{65535}, std::uint64_t{65536}, std::uint64_t{65537}, std::uint64_t{100003}}) {
    const SampleOrder order(n, 42);
    std::vector<bool> seen(n, false);
    for (std::uint64_t i = 0; i < n; ++i) seen[order(i)] = true;
    for (std::uint64_t i = 0; i < n; ++i) ASSERT_TRUE(seen[i]) << i;
  }
}

TEST(SampleOrder, DependsOnTheKeyAndMovesMostPlaces) {
  const std::uint64_t n = 10000;
  const SampleOrder a(n, 1), b(n, 2);
  int equal = 0, still = 0;
  for (std::uint64_t i = 0; i < n; ++i) {
    equal += a(i) == b(i);
    still += a(i) == i;
  }
  EXPECT_LT(equal, 20);  // one expected
  EXPECT_LT(still, 20);
}

TEST(SampleOrder, HugeRangesStayInside) {
  const std::uint64_t n = (std::uint64_t{1} << 40) + 12345;
  const SampleOrder order(n, 3);
  for (std::uint64_t i = 0; i < n; i += n / 97) EXPECT_LT(order(i), n);
}

TEST(SampleOrder, RefusesWhatIsNotInTheRange) {
  EXPECT_THROW(SampleOrder(0, 1), BugError);
  EXPECT_THROW(SampleOrder(10, 1)(10), BugError);
}

}  // namespace
}  // namespace banyan::io
