#include "src/plan/search.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "tests/plan/test_config.hpp"

namespace banyan::plan {
namespace {

config::Config small() {
  config::Config c = gpt2_124m();
  c.model.context = 64;
  c.train.batch = 12;
  return c;
}

TEST(Search, FindsEveryDivisionAndSortsByTime) {
  const SearchResult r = search_divisions(small(), 12, 0, {}, 0);
  EXPECT_EQ(r.too_large, 0);
  ASSERT_FALSE(r.divisions.empty());
  int with_tensor_5 = 0, single = 0;
  for (std::size_t i = 0; i < r.divisions.size(); ++i) {
    const Division& d = r.divisions[i];
    EXPECT_EQ(d.mesh.size(), 12);
    EXPECT_EQ(12 % d.mesh.tensor, 0);  // heads
    EXPECT_LE(d.mesh.data * d.microbatch, 12);
    with_tensor_5 += d.mesh.tensor == 5;
    single += d.mesh.tensor == 1 && d.mesh.pipeline == 1;
    if (i > 0) {
      EXPECT_GE(d.cost.step, r.divisions[i - 1].cost.step * (1 - 1e-6));
    }
  }
  EXPECT_EQ(with_tensor_5, 0);
  EXPECT_EQ(single, 1);  // only microbatch 1 leaves work for 12 data ranks
}

TEST(Search, LeavesOutWhatDoesNotFit) {
  const SearchResult all = search_divisions(small(), 4, 0, {}, 0);
  std::int64_t smallest = all.divisions[0].memory, largest = smallest;
  for (const Division& d : all.divisions) {
    smallest = std::min(smallest, d.memory);
    largest = std::max(largest, d.memory);
  }
  ASSERT_LT(smallest, largest);
  const SearchResult some = search_divisions(small(), 4, 0, {}, largest - 1);
  EXPECT_GT(some.too_large, 0);
  EXPECT_EQ(some.too_large + static_cast<std::int64_t>(some.divisions.size()),
            static_cast<std::int64_t>(all.divisions.size()));
  EXPECT_TRUE(search_divisions(small(), 4, 0, {}, smallest - 1).divisions.empty());
}

TEST(Search, SaysWhatIsWrongWithTheModelItself) {
  config::Config c = small();
  c.model.heads = 7;
  EXPECT_THROW(search_divisions(c, 4, 0, {}, 0), ConfigError);
}

TEST(Search, PrintsTheOptionsToUse) {
  const SearchResult r = search_divisions(small(), 4, 0, {}, 0);
  const std::string table = division_table(r, 2);
  EXPECT_NE(table.find("--parallel.tensor="), std::string::npos);
  EXPECT_NE(table.find("slower ones"), std::string::npos);
}

}  // namespace
}  // namespace banyan::plan
