#include "src/plan/search.hpp"

#include <gtest/gtest.h>

#include <set>

#include "src/base/error.hpp"
#include "src/plan/layout.hpp"
#include "src/plan/report.hpp"
#include "tests/plan/test_config.hpp"

namespace banyan::plan {
namespace {

config::Config small() {
  config::Config c = gpt2_124m();
  c.model.context = 64;
  c.train.batch = 12;
  return c;
}

TEST(Search, FindsEveryMeshOrSaysWhyNotAndSortsByTime) {
  const SearchResult r = search_divisions(small(), 12, 0, {});
  EXPECT_EQ(r.too_large, 0);
  ASSERT_FALSE(r.candidates.empty());
  int single = 0;
  for (std::size_t i = 0; i < r.candidates.size(); ++i) {
    const Division& d = r.candidates[i].division;
    EXPECT_EQ(d.mesh.size(), 12);
    EXPECT_LE(d.mesh.data * d.microbatch, 12);
    single += d.mesh.tensor == 1 && d.mesh.pipeline == 1;
    if (i > 0) {
      EXPECT_GE(r.candidates[i].step, r.candidates[i - 1].step * (1 - 1e-6));
    }
  }
  EXPECT_GE(single, 1);
  // Sequences of 64 positions are too short to be split; nothing else is in the way of twelve ranks.
  for (const Rejection& x : r.rejections) EXPECT_GT(x.mesh.context, 1) << x.reason;
}

TEST(Search, SaysWhichRuleRejects) {
  config::Config c = small();
  c.model.layers = 2;
  c.train.batch = 4;
  const SearchResult r = search_divisions(c, 8, 0, {});
  bool layers = false, batch = false, heads = false;
  for (const Rejection& x : r.rejections) {
    layers |= x.mesh.pipeline == 4 && x.reason.find("model.layers = 2") != std::string::npos;
    batch |= x.mesh.data == 8 && x.reason.find("train.batch = 4") != std::string::npos;
    heads |= x.mesh.tensor == 8 && x.reason.find("model.heads = 12") != std::string::npos;
  }
  EXPECT_TRUE(layers && batch && heads);
}

TEST(Search, LeavesOutWhatDoesNotFit) {
  const SearchResult all = search_divisions(small(), 4, 0, {});
  double smallest = all.candidates[0].memory, largest = smallest;
  for (const Candidate& c : all.candidates) {
    smallest = std::min(smallest, c.memory);
    largest = std::max(largest, c.memory);
  }
  ASSERT_LT(smallest, largest);
  const SearchResult some = search_divisions(small(), 4, 0, {}, {.memory = largest - 1});
  EXPECT_GT(some.too_large, 0);
  EXPECT_EQ(some.priced, all.priced);
  for (const Candidate& c : some.candidates) EXPECT_LT(c.memory, largest);
  const SearchResult none = search_divisions(small(), 4, 0, {}, {.memory = 1 << 20});
  EXPECT_TRUE(none.candidates.empty());
  ASSERT_FALSE(none.rejections.empty());
  EXPECT_NE(none.rejections.front().reason.find("does not fit"), std::string::npos);
}

TEST(Search, SaysWhatIsWrongWithTheModelItself) {
  config::Config c = small();
  c.model.heads = 7;
  EXPECT_THROW(search_divisions(c, 4, 0, {}), ConfigError);
  EXPECT_THROW(search_divisions(small(), 4, 0, {}, {.precision = Precision::kBf16}), ConfigError);
}

/// Holds what is found and can run against the program's own layout; the schedules among them.
std::set<parallel::ScheduleKind> expect_layouts(const config::Config& asked) {
  const SearchResult r = search_divisions(asked, 12, 0, {});
  std::set<parallel::ScheduleKind> schedules;
  int runnable = 0;
  for (const Candidate& x : r.candidates) {
    EXPECT_EQ(x.runnable, not_runnable(x.division).empty());
    if (!x.runnable) continue;
    ++runnable;
    schedules.insert(x.division.schedule);
    config::Config c = asked;
    c.run.threads = 1;  // not as many as there are here
    const Division& d = x.division;
    c.parallel.tensor = d.mesh.tensor;
    c.parallel.pipeline = d.mesh.pipeline;
    c.parallel.data = d.mesh.data;
    c.parallel.microbatch = d.microbatch;
    c.parallel.schedule = name_of(d.schedule);
    c.parallel.virtual_stages = d.virtual_stages;
    c.parallel.zero = d.zero;
    c.parallel.sequence = d.sequence;
    c.train.recompute = d.recompute == Recompute::kBlock   ? "block"
                        : d.recompute == Recompute::kCheap ? "cheap"
                                                           : "none";
    const Layout layout = make_layout(c, 12, 0);
    EXPECT_EQ(division_of(layout), d) << options_of(d);
    // The closed form is near the played schedule, and the estimate of memory near the plan.
    EXPECT_NEAR(step_cost(layout, {}).step / x.step, 1, 0.15) << options_of(d);
    EXPECT_NEAR(static_cast<double>(largest_rank(layout, c)) / x.memory, 1, 0.25) << options_of(d);
  }
  EXPECT_GT(runnable, 5);
  return schedules;
}

TEST(Search, WhatRunsIsALayoutOfTheProgram) {
  using parallel::ScheduleKind;
  // A head as dear as several blocks: the chunks of a V would not be alike.
  const auto heavy = expect_layouts(small());
  EXPECT_TRUE(heavy.contains(ScheduleKind::kZbH1)) << "gradients of weights fill pipelines' bubbles";
  EXPECT_FALSE(heavy.contains(ScheduleKind::kZbV));
  config::Config light = small();
  light.model.vocab = 256;
  light.model.layers = 32;
  EXPECT_TRUE(expect_layouts(light).contains(ScheduleKind::kZbV));
}

TEST(Search, AnswersForThousandsOfRanks) {
  config::Config c = gpt2_124m();
  c.model.layers = 126;
  c.model.width = 16384;
  c.model.heads = 128;
  c.train.batch = 2048;
  const Machine machine = load_machine(BANYAN_SOURCE_DIR "/configs/machines/h100-roce.ini");
  const SearchResult r = search_divisions(c, 16384, 0, machine, {.precision = Precision::kBf16});
  EXPECT_GT(r.priced, 5000);
  ASSERT_FALSE(r.candidates.empty());
  EXPECT_FALSE(r.candidates.front().runnable);
  EXPECT_LE(r.candidates.front().division.mesh.tensor, 8);
}

}  // namespace
}  // namespace banyan::plan
