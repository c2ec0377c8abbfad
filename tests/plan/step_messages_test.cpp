#include "src/plan/step_messages.hpp"

#include <gtest/gtest.h>

#include <random>

#include "src/parallel/play.hpp"

namespace banyan::plan {
namespace {

double played(const std::vector<Pass>& passes, int microbatches, parallel::ScheduleKind kind) {
  std::vector<std::vector<parallel::Action>> schedules;
  const int stages = static_cast<int>(passes.size());
  for (int s = 0; s < stages; ++s)
    schedules.push_back(
        parallel::make_schedule({.kind = kind, .stages = stages, .stage = s, .microbatches = microbatches}));
  const auto cost = [&](int s, const parallel::Action& a) {
    const Pass& p = passes[static_cast<std::size_t>(s)];
    return a.kind == parallel::ActionKind::kForward    ? p.forward
           : a.kind == parallel::ActionKind::kBackward ? p.backward
                                                       : 0;
  };
  return parallel::play(schedules, cost, 0).makespan;
}

TEST(PipelineSeconds, AreThePlayedOnesOfStagesThatAreAlike) {
  for (int stages : {1, 2, 3, 5})
    for (int microbatches : {1, 2, 4, 9}) {
      const std::vector<Pass> passes(static_cast<std::size_t>(stages), {1, 2});
      EXPECT_NEAR(pipeline_seconds(passes, microbatches, false),
                  played(passes, microbatches, parallel::ScheduleKind::k1F1B), 1e-12)
          << stages << " " << microbatches;
      EXPECT_NEAR(pipeline_seconds(passes, microbatches, true),
                  played(passes, microbatches, parallel::ScheduleKind::kGpipe), 1e-12)
          << stages << " " << microbatches;
    }
}

// Of unlike stages it is one way through the schedule, so never longer than the whole, and mostly the longest.
TEST(PipelineSeconds, AreCloseToThePlayedOnes) {
  std::mt19937 random(3);
  double worst = 0, sum = 0;
  constexpr int kRounds = 400;
  for (int round = 0; round < kRounds; ++round) {
    const int stages = 2 + static_cast<int>(random() % 7), microbatches = 1 + static_cast<int>(random() % 24);
    std::vector<Pass> passes;
    for (int s = 0; s < stages; ++s)
      passes.push_back({1 + static_cast<double>(random() % 100) / 100, 2 + static_cast<double>(random() % 200) / 100});
    for (const bool gpipe : {false, true}) {
      const double whole =
          played(passes, microbatches, gpipe ? parallel::ScheduleKind::kGpipe : parallel::ScheduleKind::k1F1B);
      const double formula = pipeline_seconds(passes, microbatches, gpipe);
      EXPECT_LE(formula, whole * (1 + 1e-9));
      worst = std::max(worst, 1 - formula / whole);
      sum += 1 - formula / whole;
    }
  }
  EXPECT_LT(worst, 0.2);
  EXPECT_LT(sum / (2 * kRounds), 0.04);
}

/// Two stages; way 0 carries what the test says, at 1 byte a second.
struct Case {
  Demand demand{
      .tensor = {10, 10}, .tensor_calls = {{5, 5}, {5, 5}}, .data = {0, 0}, .microbatches = 10, .trains = true};
  Loads loads;
  Case() { loads.fill(AxisLoad(2, 2)); }
  void put(MeshAxis axis, std::size_t way, std::size_t stage, double bytes) {
    AxisLoad& load = loads[static_cast<std::size_t>(axis)];
    load.bytes[way * 2 + stage] = bytes;
    load.phases[stage] = std::max(load.phases[stage], bytes);
  }
  StepMessages price(const std::vector<Pass>& computing) const {
    return step_messages(demand, computing, loads, {1, 1}, {});
  }
};

TEST(StepMessages, OfPhasesFollowEachOtherUnlessACallIsLong) {
  Case c;
  c.put(MeshAxis::kTensor, 0, 0, 30);
  const double alone = c.price({}).tensor;
  c.loads[0].phases[0] = 50;
  EXPECT_NEAR(c.price({}).tensor, alone * 50 / 30, 1e-9);
  c.demand.tensor = {1e12, 10};  // of many pieces
  EXPECT_NEAR(c.price({}).tensor, alone, 1e-3);
}

// Stages that mostly compute rarely meet.
TEST(StepMessages, OfOtherStagesAreMetByChance) {
  Case c;
  c.put(MeshAxis::kTensor, 0, 0, 10);
  c.put(MeshAxis::kTensor, 0, 1, 10);
  const double always = c.price({}).tensor, often = c.price({{0.5, 1}, {0.5, 1}}).tensor,
               rarely = c.price({{500, 1000}, {500, 1000}}).tensor;
  EXPECT_GT(always, often);
  EXPECT_GT(often, rarely);
  EXPECT_NEAR(rarely, 11, 0.1) << "as if each had a way of its own";
}

TEST(StepMessages, OfStagesOnOneWayTakeTurns) {
  Case apart, together;
  for (Case* c : {&apart, &together}) {
    c->put(MeshAxis::kTensor, 0, 0, 10);
    c->put(MeshAxis::kTensor, c == &apart ? 1 : 0, 1, 10);
  }
  const double alone = apart.price({}).tensor;
  EXPECT_DOUBLE_EQ(alone, 11) << "ten microbatches and one for the way there and back";
  EXPECT_GT(together.price({}).tensor, 1.5 * alone);
  EXPECT_LT(together.price({}).tensor, 2 * alone);
}

// The last stage is done first, and adds while the first one computes.
TEST(StepMessages, OfGradientsHideBehindTheBackwardPassOfOtherStages) {
  Case c;
  c.put(MeshAxis::kData, 0, 1, 4);
  const std::vector<Pass> computing{{1, 3}, {1, 3}};
  EXPECT_DOUBLE_EQ(c.price(computing).data, 1);
  c.put(MeshAxis::kData, 1, 0, 4);
  EXPECT_DOUBLE_EQ(c.price(computing).data, 4) << "the first stage has nobody to hide behind";
  c.put(MeshAxis::kData, 1, 0, 0);
  c.put(MeshAxis::kData, 0, 0, 4);
  EXPECT_DOUBLE_EQ(c.price(computing).data, 5) << "on one way after each other";
}

TEST(StepMessages, BetweenStagesCountOnTheWayThereAndBack) {
  Case c;
  c.demand.pipeline = 10;
  c.put(MeshAxis::kPipeline, 0, 0, 10);
  const StepMessages m = c.price({{1, 2}, {1, 2}});
  EXPECT_EQ(m.tensor, 0);
  EXPECT_GT(m.pipeline, 2);
}

}  // namespace
}  // namespace banyan::plan
