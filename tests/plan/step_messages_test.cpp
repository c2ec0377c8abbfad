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

TEST(PipelineSeconds, KnowWhatTheScheduleLeavesOfTheWaysThereAndBack) {
  const std::vector<Pass> passes(4, Pass{1, 2});
  const double work = 8 * 3, ways = 3 * 3;
  EXPECT_NEAR(pipeline_seconds(passes, 8, false), work + ways, 1e-12);
  EXPECT_NEAR(pipeline_seconds(passes, 8, false, 0.5), work + ways / 2, 1e-12);
}

/// Two stages; way 0 carries what the test says, at 1 byte a second.
struct Case {
  parallel::MeshShape mesh{.tensor = 1, .pipeline = 2};
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
    return step_messages(mesh, demand, computing, loads, {1, 1}, {});
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

// What one group of a stage computes others use to send.
TEST(StepMessages, OfGroupsThatShareAWayHideWhatIsComputed) {
  Case c;
  c.mesh.tensor = 2;
  c.put(MeshAxis::kTensor, 0, 0, 10);  // one group: sent_by_part(10, 2)
  EXPECT_DOUBLE_EQ(c.price({{0.5, 0.5}, {0, 0}}).tensor, 10) << "nobody else is there";
  c.put(MeshAxis::kTensor, 0, 0, 40);
  EXPECT_DOUBLE_EQ(c.price({}).tensor, 40);
  EXPECT_NEAR(c.price({{0.5, 0.5}, {0, 0}}).tensor, 40 - 10, 1e-9) << "as much as is computed";
  EXPECT_NEAR(c.price({{500, 500}, {0, 0}}).tensor, 10, 1e-9) << "what one sends is left";
}

TEST(StepMessages, OfTwoGroupsThatBeginTogetherHideNothing) {
  Case c;
  c.mesh = {.tensor = 2, .pipeline = 1};
  c.demand.tensor = {10};
  c.demand.tensor_calls = {{5, 5}};
  c.demand.data = {0};
  c.loads.fill(AxisLoad(1, 2));
  const auto of_groups = [&](double groups) {
    AxisLoad& load = c.loads[static_cast<std::size_t>(MeshAxis::kTensor)];
    load.bytes[0] = load.phases[0] = groups * 10;
    return c.price({{5, 5}}).tensor;
  };
  EXPECT_DOUBLE_EQ(of_groups(1), 10);
  EXPECT_DOUBLE_EQ(of_groups(2), 20);
  EXPECT_DOUBLE_EQ(of_groups(3), 10) << "the others send while one computes";
}

// The sums of the last stage's many long gradients have the way of the first one's last pass.
TEST(StepMessages, OfGradientsHoldUpTheLastPassOfOtherStages) {
  Case c;
  c.mesh = {.tensor = 2, .data = 2, .pipeline = 2};
  c.demand.data = {0, 4};
  c.put(MeshAxis::kTensor, 0, 0, 10);
  c.put(MeshAxis::kData, 1, 1, 1);
  EXPECT_NEAR(c.price({}).data, 0.5, 1e-9) << "half of it is hidden, and it is in nobody's way";
  c.put(MeshAxis::kData, 1, 1, 0);
  c.put(MeshAxis::kData, 0, 1, 8);  // four flows beside that of a pass, which alone takes half a second
  EXPECT_NEAR(c.price({}).data, 8 - 0.5, 1e-9);
  c.put(MeshAxis::kData, 1, 0, 10);
  EXPECT_NEAR(c.price({}).data, 4 * 0.5 + 10, 1e-9) << "the first stage begins as much later";
  c.put(MeshAxis::kData, 0, 1, 1);
  EXPECT_NEAR(c.price({}).data, 0.25 + 10, 1e-9) << "half a flow";
  c.demand.tensor[0] = 1000;
  EXPECT_NEAR(c.price({}).data, 1 + 10, 1e-9) << "until there is nothing left to add";
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
