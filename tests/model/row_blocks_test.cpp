#include "src/model/row_blocks.hpp"

#include <gtest/gtest.h>

namespace banyan::model {
namespace {

TEST(RowBlocks, HoldEveryRowOnce) {
  for (std::int64_t rows = 1; rows <= 24; ++rows)
    for (int ranks = 1; ranks <= 4; ++ranks)
      for (int blocks = 1; blocks <= 9; ++blocks)
        for (const bool sequence : {false, true}) {
          if (sequence && rows % ranks != 0) continue;
          const std::vector<RowBlock> list = row_blocks(rows, blocks, ranks, sequence);
          std::vector<int> seen(static_cast<std::size_t>(rows), 0);
          for (const RowBlock& b : list) {
            ASSERT_GT(b.rows.count(), 0);
            for (std::int64_t r = b.rows.begin; r < b.rows.end; ++r) ++seen.at(static_cast<std::size_t>(r));
            if (!sequence || blocks == 1) {
              ASSERT_EQ(b.owner, -1);
              continue;
            }
            ASSERT_GE(b.rows.begin, b.owner * (rows / ranks)) << "a rank's rows";
            ASSERT_LE(b.rows.end, (b.owner + 1) * (rows / ranks)) << "a rank's rows";
          }
          ASSERT_EQ(seen, std::vector<int>(seen.size(), 1)) << rows << " " << ranks << " " << blocks;
          // Not sequence: as asked for, as far as there are rows; else alike for all ranks, and at least as many.
          const auto count = std::ssize(list);
          if (!sequence) {
            ASSERT_EQ(count, std::min<std::int64_t>(blocks, rows));
          } else if (blocks > 1) {
            ASSERT_EQ(count % ranks, 0);
            ASSERT_GE(count, std::min<std::int64_t>(blocks, rows)) << rows << " " << ranks << " " << blocks;
          }
        }
}

TEST(RowBlocks, AreAsTheHeaderDrawsThem) {
  EXPECT_EQ(row_blocks(6, 3, 2, false), (std::vector<RowBlock>{{{0, 2}}, {{2, 4}}, {{4, 6}}}));
  EXPECT_EQ(row_blocks(6, 3, 2, true), (std::vector<RowBlock>{{{0, 1}, 0}, {{3, 4}, 1}, {{1, 3}, 0}, {{4, 6}, 1}}));
}

TEST(RowBlocks, OfNoRowsAreOneEmptyBlockAtMost) {
  for (const RowBlock& b : row_blocks(0, 4, 2, false)) EXPECT_EQ(b.rows, (Range{0, 0}));
  EXPECT_TRUE(row_blocks(0, 4, 2, true).empty());
}

}  // namespace
}  // namespace banyan::model
