#include "src/base/rng.hpp"

#include <gtest/gtest.h>

#include <set>

namespace banyan::rng {
namespace {

// Known answers of Random123's kat_vectors for philox4x32-10.
TEST(Rng, PhiloxGivesTheAuthorsAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, 0), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint32_t f = 0xffffffff;
  EXPECT_EQ(philox({f, f, f, f}, 0xffffffffffffffffu), (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822u),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Rng, PurposesLayersAndStepsDoNotMeet) {
  std::set<std::uint64_t> keys;
  for (const Purpose p : {Purpose::kEmbedding, Purpose::kAttention, Purpose::kResidualAttention, Purpose::kResidualMlp})
    for (std::int64_t layer = 0; layer < 20; ++layer)
      for (std::int64_t step = 0; step < 50; ++step) keys.insert(stream_key(1, p, layer, step));
  EXPECT_EQ(keys.size(), 4u * 20 * 50);
  EXPECT_NE(named_key(1, "a"), named_key(1, "b"));
  EXPECT_NE(named_key(1, "a"), named_key(2, "a"));
}

TEST(Rng, UniformStaysBelowOne) {
  EXPECT_EQ(uniform(0), 0.0f);
  EXPECT_LT(uniform(0xffffffffu), 1.0f);
}

TEST(Rng, NormalHasMeanZeroAndVarianceOne) {
  double sum = 0, squares = 0;
  constexpr int n = 100000;
  for (std::uint64_t i = 0; i < n; ++i) {
    const double v = normal(7, i);
    sum += v;
    squares += v * v;
  }
  EXPECT_NEAR(sum / n, 0.0, 0.02);
  EXPECT_NEAR(squares / n, 1.0, 0.02);
}

}  // namespace
}  // namespace banyan::rng
