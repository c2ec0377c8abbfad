#include "src/plan/cost.hpp"

#include <gtest/gtest.h>

#include "tests/plan/test_config.hpp"

namespace banyan::plan {
namespace {

TEST(Cost, StagesTogetherDoTheModelsWork) {
  config::Config c = gpt2_124m();
  const Layout one = make_layout(c, 1, 0);
  c.parallel.pipeline = 4;
  const Layout four = make_layout(c, 4, 0);
  double sum = 0;
  for (int s = 0; s < 4; ++s) sum += stage_flops(four, s).total();
  EXPECT_NEAR(sum, stage_flops(one, 0).total(), 1);
  // The usual count leaves out the causal mask, so it is a little larger, and the lookups, which are nothing.
  EXPECT_LT(sum, model::flops_per_token(one.model));
  EXPECT_GT(sum, 0.8 * model::flops_per_token(one.model));
}

TEST(Cost, RecomputationAddsAForwardPassOfTheBlocks) {
  const model::ModelShape shape = make_model_shape(gpt2_124m(), 0);
  EXPECT_DOUBLE_EQ(block_flops(shape, true).total() - block_flops(shape, false).total(),
                   block_flops(shape, false).forward);
}

TEST(Cost, OfOneRankIsWorkOverRatePlusUpdate) {
  const Layout layout = make_layout(gpt2_124m(), 1, 0);
  const StepCost cost = step_cost(layout, {.fp32 = 1e11});
  const double work = stage_flops(layout, 0).total() * static_cast<double>(layout.tokens_per_batch()) / 1e11;
  EXPECT_GT(cost.pipeline, work);  // norms and residuals go through memory
  EXPECT_LT(cost.pipeline, 1.05 * work);
  EXPECT_EQ(cost.reduce, 0);
  EXPECT_EQ(cost.tensor_share, 0);
  EXPECT_NEAR(cost.step, cost.pipeline + cost.update, 1e-9);
  EXPECT_NEAR(cost.tokens_per_second * cost.step, 8 * 1024, 1e-6);
}

TEST(Cost, RanksThatShareCoresTakeTurns) {
  const Machine two{.fp32 = 1e11, .cores = 2};
  config::Config c = gpt2_124m();
  const double on_two = step_cost(make_layout(c, 2, 0), two).pipeline;
  EXPECT_NEAR(step_cost(make_layout(c, 4, 0), two).pipeline / on_two, 1, 0.01);
  // A pipeline of four on two cores: whoever waits lends its core, so that most of the bubble is gone.
  c.parallel.pipeline = 4;
  const Layout four = make_layout(c, 4, 0);
  EXPECT_LT(step_cost(four, two).bubble_share, step_cost(four, {.fp32 = 1e11}).bubble_share);
}

TEST(Cost, InterleavingDividesTheBubble) {
  config::Config c = gpt2_124m();
  c.model.vocab = 16;  // next to no head, so that stages are alike
  c.parallel.pipeline = 4;
  c.parallel.stages = "3,3,3,3";
  Machine machine{.fp32 = 1e11};
  for (comm::TreeLevel& level : machine.links) level.latency = 0, level.rate = 1e15;
  const StepCost plain = step_cost(make_layout(c, 4, 0), machine);
  EXPECT_NEAR(plain.bubble_share, 3.0 / 11, 0.01);
  c.parallel.schedule = "interleaved";
  c.parallel.virtual_stages = 3;
  c.parallel.stages = "auto";
  const StepCost third = step_cost(make_layout(c, 4, 0), machine);
  EXPECT_NEAR(third.bubble_share, 1.0 / 9, 0.01);
  c.parallel.virtual_stages = 0;
  c.model.layers = 16;  // two in each chunk
  c.parallel.schedule = "zb-h1";
  const StepCost h1 = step_cost(make_layout(c, 4, 0), machine);
  c.parallel.schedule = "zb-v";
  const StepCost v = step_cost(make_layout(c, 4, 0), machine);
  EXPECT_LT(h1.bubble_share, 0.6 * plain.bubble_share);
  EXPECT_LT(v.bubble_share, h1.bubble_share);
  EXPECT_NEAR(v.forward[1], h1.forward[1], 1e-9);
  EXPECT_NEAR(plain.waiting / plain.pipeline, 2.0 / 11, 0.01);  // the last stage is done before the first
  EXPECT_NEAR(third.forward[1], plain.forward[1], 1e-9);
}

TEST(Cost, OfAVWhoseChunksAreUnlikeIsBelowThatOf1F1B) {
  config::Config c = gpt2_124m();
  c.model.vocab = 8192;  // a head as dear as a block, on the stage that has the embedding; three for each stage
  c.parallel.pipeline = 4;
  const Machine machine{.fp32 = 1e11};
  const double plain = step_cost(make_layout(c, 4, 0), machine).pipeline;
  c.parallel.schedule = "zb-v";
  EXPECT_LT(step_cost(make_layout(c, 4, 0), machine).pipeline, plain);
}

TEST(Cost, EveryWayOfDividingHelpsAndCosts) {
  config::Config c = gpt2_124m();
  const Machine machine{.fp32 = 1e11};
  const double alone = step_cost(make_layout(c, 1, 0), machine).step;
  const StepCost data = step_cost(make_layout(c, 2, 0), machine);
  EXPECT_LT(data.step, alone);
  EXPECT_GT(data.reduce, 0);
  c.parallel.tensor = 2;
  const StepCost tensor = step_cost(make_layout(c, 2, 0), machine);
  EXPECT_LT(tensor.step, alone);
  EXPECT_GT(tensor.tensor_share, 0);
  c.parallel.tensor = 1;
  c.parallel.pipeline = 2;
  const StepCost pipeline = step_cost(make_layout(c, 2, 0), machine);
  EXPECT_LT(pipeline.step, alone);
  EXPECT_GT(pipeline.bubble_share, 0.05);
}

}  // namespace
}  // namespace banyan::plan
