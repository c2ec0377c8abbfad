#include "src/parallel/buckets.hpp"

#include <gtest/gtest.h>

#include <numeric>

namespace banyan::parallel {
namespace {

TEST(Buckets, CloseAsSoonAsTheyAreFull) {
  const std::vector<std::int64_t> blocks(6, 10);
  EXPECT_EQ(part_blocks(blocks, 0, 20), (std::vector<std::int64_t>{2, 2, 2}));
  EXPECT_EQ(part_blocks(blocks, 0, 21), (std::vector<std::int64_t>{3, 3}));
  EXPECT_EQ(part_blocks(blocks, 0, 1), (std::vector<std::int64_t>(6, 1)));
  EXPECT_EQ(part_blocks(blocks, 0, 1000), (std::vector<std::int64_t>{6}));
  EXPECT_EQ(part_blocks(blocks, 15, 20), (std::vector<std::int64_t>{1, 2, 2, 1}));
}

TEST(Buckets, AlwaysAddUpToTheBlocks) {
  for (std::int64_t count = 1; count <= 9; ++count)
    for (std::int64_t bucket = 1; bucket <= 60; ++bucket) {
      std::vector<std::int64_t> blocks;
      for (std::int64_t i = 0; i < count; ++i) blocks.push_back(3 + i);
      const std::vector<std::int64_t> parts = part_blocks(blocks, 7, bucket);
      EXPECT_EQ(std::accumulate(parts.begin(), parts.end(), std::int64_t{0}), count);
      for (std::int64_t part : parts) EXPECT_GE(part, 1);
    }
}

}  // namespace
}  // namespace banyan::parallel
