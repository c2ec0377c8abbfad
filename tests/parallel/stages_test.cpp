#include "src/parallel/stages.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

#include "src/base/error.hpp"

namespace banyan::parallel {
namespace {

double stage_cost(const std::vector<double>& blocks, const BlockRange& r, double first, double last) {
  double cost = 0;
  for (std::int64_t i = r.begin; i < r.end; ++i) cost += blocks[static_cast<std::size_t>(i)];
  if (r.begin == 0) cost += first;
  if (r.end == static_cast<std::int64_t>(blocks.size())) cost += last;
  return cost;
}

/// Smallest maximum over all cuts, by trying all of them.
double brute_force(const std::vector<double>& blocks, int stages, double first, double last) {
  const auto n = static_cast<std::int64_t>(blocks.size());
  std::function<double(std::int64_t, int)> best = [&](std::int64_t begin, int left) {
    if (left == 1) return stage_cost(blocks, {begin, n}, first, last);
    double smallest = 1e300;
    for (std::int64_t end = begin + 1; end <= n - (left - 1); ++end)
      smallest = std::min(smallest, std::max(stage_cost(blocks, {begin, end}, first, last), best(end, left - 1)));
    return smallest;
  };
  return best(0, stages);
}

TEST(BalanceStages, IsExactForRandomCosts) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> cost(0.1, 3.0);
  for (int round = 0; round < 400; ++round) {
    const int n = 1 + static_cast<int>(random() % 10),
              stages = 1 + static_cast<int>(random() % static_cast<unsigned>(n));
    std::vector<double> blocks;
    for (int i = 0; i < n; ++i) blocks.push_back(cost(random));
    const double first = random() % 2 ? cost(random) : 0, last = random() % 2 ? 4 * cost(random) : 0;
    const std::vector<BlockRange> ranges = balance_stages(blocks, stages, first, last);
    ASSERT_EQ(ranges.size(), static_cast<std::size_t>(stages));
    double dearest = 0;
    std::int64_t next = 0;
    for (const BlockRange& r : ranges) {
      EXPECT_EQ(r.begin, next);
      EXPECT_GE(r.count(), 1);
      next = r.end;
      dearest = std::max(dearest, stage_cost(blocks, r, first, last));
    }
    EXPECT_EQ(next, n);
    EXPECT_NEAR(dearest, brute_force(blocks, stages, first, last), 1e-9);
  }
}

TEST(BalanceStages, GivesTheStageWithTheHeadFewerBlocks) {
  const std::vector<double> blocks(12, 1.0);
  EXPECT_EQ(format_stages(balance_stages(blocks, 2, 0, 5.5)), "9,3");
  EXPECT_EQ(format_stages(balance_stages(blocks, 4, 0, 0)), "3,3,3,3");
  EXPECT_THROW(balance_stages(blocks, 13, 0, 0), BugError);
}

TEST(BalanceStages, CanHandleTheLargestConfigs) {
  const std::vector<double> blocks(4096, 1.0);
  EXPECT_EQ(balance_stages(blocks, 4096, 0.5, 9).size(), 4096u);
  EXPECT_EQ(balance_stages(blocks, 63, 0.5, 9).size(), 63u);
}

TEST(ParseStages, ReadsCounts) {
  EXPECT_EQ(parse_stages("5,7", 12, 2), (std::vector<BlockRange>{{0, 5}, {5, 12}}));
  EXPECT_EQ(parse_stages(" 1 , 2, 1", 4, 3), (std::vector<BlockRange>{{0, 1}, {1, 3}, {3, 4}}));
}

TEST(ParseStages, RefusesWithTheKeysAndTheNumbers) {
  for (const char* text :
       {"5", "5,8", "5,-7", "0,12", "5,7,", "", "a,b", "5;7", "99999999999999999999,1", "4,4,4", "5 7"}) {
    try {
      parse_stages(text, 12, 2);
      FAIL() << text;
    } catch (const ConfigError& e) {
      EXPECT_NE(std::string(e.what()).find("parallel.stages"), std::string::npos) << e.what();
    }
  }
}

}  // namespace
}  // namespace banyan::parallel
