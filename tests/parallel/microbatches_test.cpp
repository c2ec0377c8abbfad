#include "src/parallel/microbatches.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"

namespace banyan::parallel {
namespace {

TEST(Microbatches, CoverTheBatchInOrderAndDifferByAtMostOne) {
  for (int ranks = 1; ranks <= 9; ++ranks)
    for (std::int64_t total = 0; total <= 40; ++total) {
      std::int64_t next = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const MicrobatchRange r = split_microbatches(total, rank, ranks);
        EXPECT_EQ(r.first, next);
        EXPECT_GE(r.count, total / ranks);
        EXPECT_LE(r.count, total / ranks + 1);
        EXPECT_LE(r.count, split_microbatches(total, 0, ranks).count);
        next += r.count;
      }
      EXPECT_EQ(next, total);
    }
}

TEST(Microbatches, RefuseARankOutsideTheGroup) {
  EXPECT_THROW(split_microbatches(4, 2, 2), BugError);
  EXPECT_THROW(split_microbatches(4, -1, 2), BugError);
}

}  // namespace
}  // namespace banyan::parallel
