#include "src/plan/report.hpp"

#include <gtest/gtest.h>

#include "src/plan/memory.hpp"
#include "tests/plan/test_config.hpp"

namespace banyan::plan {
namespace {

TEST(Report, ShowsWhatAJobWillDo) {
  config::Config c = gpt2_124m();
  c.parallel.pipeline = 2;
  c.train.batch = 6;
  const Layout layout = make_layout(c, 5, 0);
  const std::string text = report(layout, c, {});
  for (const char* words :
       {"124M parameters", "tensor 1 x data 2 x pipeline 2 on 5 ranks, 1 idle", "6 sequences of 1024 tokens",
        "3 for each data rank", "stage 0 01..aa2bb.cc", "memory of a rank of stage 1", "bubble"})
    EXPECT_NE(text.find(words), std::string::npos) << words << " is not in\n" << text;
}

TEST(Report, ShowsTheChunksOfAStage) {
  config::Config c = gpt2_124m();
  c.parallel.pipeline = 2;
  c.parallel.schedule = "interleaved";
  c.parallel.stages = "3,3,3,3";
  c.train.batch = 2;
  const std::string text = report(make_layout(c, 2, 0), c, {});
  for (const char* words : {"0 to 2, 6 to 8", "3 to 5, 9 to 11", "stage 0 chunk 0 01.........aabb",
                            "stage 1 chunk 1 ...0aa1bb......", "each in one chunk"})
    EXPECT_NE(text.find(words), std::string::npos) << words << " is not in\n" << text;
}

TEST(Report, FindsTheLargestRank) {
  config::Config c = gpt2_124m();
  c.parallel.pipeline = 3;
  const Layout layout = make_layout(c, 3, 0);
  std::int64_t largest = 0;
  for (int p = 0; p < 3; ++p) largest = std::max(largest, memory_plan(layout, c, {.pipeline = p}).total());
  EXPECT_EQ(largest_rank(layout, c), largest);
}

}  // namespace
}  // namespace banyan::plan
