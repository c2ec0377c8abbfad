#include "perf/comm_row.hpp"

#include <gtest/gtest.h>

#include "src/base/json.hpp"

namespace banyan::perf {
namespace {

Row some_row() {
  return {.traffic = Traffic::kAllReduce,
          .algorithm = "ring",
          .bytes = 4000,
          .elements = 1000,
          .bus_factor = 1.5,
          .seconds = {4e-6, 1e-6, 2e-6},
          .average = {2e-6},
          .least = {1e-6},
          .most = {3e-6},
          .calls = 7,
          .wrong = 0,
          .ratio = 2,
          .share = 0.5};
}

TEST(CommRow, TheMedianOfTheBlocksIsTheTime) {
  EXPECT_DOUBLE_EQ(some_row().time(), 2e-6);
  EXPECT_DOUBLE_EQ(median({1, 4, 3, 2}), 2.5);
  EXPECT_DOUBLE_EQ(some_row().algorithm_bandwidth(), 2e9);
  EXPECT_DOUBLE_EQ(some_row().bus_bandwidth(), 3e9);
}

TEST(CommRow, RatiosComparePairsOfTheSameMoment) {
  // The second block met a slow machine: both took ten times as long.
  EXPECT_DOUBLE_EQ(paired_ratio({2, 20, 2}, {1, 10, 1}), 2);
  EXPECT_DOUBLE_EQ(paired_ratio({}, {1, 2}), 0);
}

TEST(CommRow, TextHasTheHeadersColumns) {
  const std::string header = row_header(), text = to_text(some_row());
  EXPECT_EQ(header.find('|'), text.find('|'));
  EXPECT_EQ(header.size(), text.size());
  for (const char* word : {"ring", "4000", "sum", "2.000", "3.000", "2.00", "50%"})
    EXPECT_NE(text.find(word), std::string::npos) << word << " in " << text;
}

TEST(CommRow, JsonHasBothSetsOfColumns) {
  const Json j = to_json(some_row());
  EXPECT_EQ(j.at("kind"), "all-reduce");
  EXPECT_EQ(j.at("count"), 1000);
  EXPECT_DOUBLE_EQ(j.at("busbw_bytes_per_s"), 3e9);
  EXPECT_DOUBLE_EQ(j.at("latency_max_s"), 3e-6);
  EXPECT_EQ(j.at("wrong"), 0);
  EXPECT_DOUBLE_EQ(j.at("times_faster_than_mpi"), 2);
}

TEST(CommRow, TheSummaryNamesMedianAndWorst) {
  Row slow = some_row();
  slow.ratio = 0.5;
  Row plain = some_row();
  plain.ratio = 1;
  const std::string text = summary({some_row(), slow, plain});
  EXPECT_NE(text.find("1.00"), std::string::npos) << text;
  EXPECT_NE(text.find("0.50"), std::string::npos) << text;
}

}  // namespace
}  // namespace banyan::perf
