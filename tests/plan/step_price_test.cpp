#include "src/plan/step_price.hpp"

#include <gtest/gtest.h>

#include <utility>

#include "src/parallel/play.hpp"
#include "src/parallel/stages.hpp"
#include "src/plan/cost.hpp"
#include "src/plan/layout.hpp"
#include "tests/plan/test_config.hpp"

namespace banyan::plan {
namespace {

TEST(StepPrice, TermsAddUp) {
  const model::ModelShape shape = make_model_shape(gpt2_124m(), 0);
  Division d;
  d.mesh = {.tensor = 2, .context = 1, .data = 2, .pipeline = 4};
  const StepPrice p = step_price(shape, d, 32, {});
  EXPECT_DOUBLE_EQ(p.step, p.steady + p.fill + p.messages + p.crowding + p.gradients + p.gathering + p.update);
  EXPECT_EQ(p.microbatches, 16);
  EXPECT_GT(p.tensor, 0);
  EXPECT_GT(p.gradients, 0);
  EXPECT_EQ(p.gathering, 0);
  EXPECT_DOUBLE_EQ(p.model_flops, p.hardware_flops);
}

/// The closed form against the schedules of src/parallel, for stages that cost the same and for such that do not.
TEST(StepPrice, PipelineIsThatOfThePlayedSchedule) {
  for (int stages = 2; stages <= 8; ++stages)
    for (int microbatches : {8, 11, 32})
      for (auto kind : {parallel::ScheduleKind::k1F1B, parallel::ScheduleKind::kGpipe}) {
        std::vector<std::vector<parallel::Action>> schedules;
        for (int s = 0; s < stages; ++s)
          schedules.push_back(parallel::make_schedule(
              {.kind = kind, .stages = stages, .stage = s, .microbatches = microbatches, .parts = {1}}));
        // The last stage is a third dearer, as with a head.
        const auto dearer = [&](int s) { return s + 1 == stages ? 4.0 / 3 : 1.0; };
        const parallel::Timeline t = parallel::play(
            schedules, [&](int s, const parallel::Action& a) { return dearer(s) * parallel::uniform_cost(1, 2)(s, a); },
            0);
        const double all = 3 * (stages - 1) + 4, dearest = 4;
        EXPECT_NEAR(t.makespan / (microbatches * dearest + (all - dearest)), 1, 0.02)
            << stages << " stages, " << microbatches << " microbatches";
      }
}

TEST(StepPrice, DearestStageIsThatOfTheExactCut) {
  for (std::int64_t layers : {4, 12, 13, 40})
    for (int stages = 1; stages <= 4; ++stages)
      for (double first : {0.0, 0.4})
        for (double last : {0.0, 0.7, 5.5}) {
          const std::vector<double> blocks(static_cast<std::size_t>(layers), 1.0);
          double most = 0;
          const auto cut = parallel::balance_stages(blocks, stages, first, last);
          for (int s = 0; s < stages; ++s)
            most = std::max(most, static_cast<double>(cut[static_cast<std::size_t>(s)].count()) + (s == 0 ? first : 0) +
                                      (s + 1 == stages ? last : 0));
          const DearestStage d = dearest_stage(static_cast<double>(layers), stages, 1, first, last, false);
          EXPECT_NEAR(d.seconds, most, 1e-9) << layers << " blocks, " << stages << " stages " << first << " " << last;
        }
}

TEST(StepPrice, AnEvenCutLeavesTheEndsShort) {
  EXPECT_EQ(dearest_stage(126, 16, 1, 0.1, 0.9, true).seconds, 8);
  EXPECT_EQ(dearest_stage(128, 16, 1, 0.1, 0.9, true).seconds, 8.9);
}

TEST(StepPrice, ParametersAreThoseOfTheModel) {
  config::Config c = gpt2_124m();
  for (bool swiglu : {false, true}) {
    c.model.mlp = swiglu ? "swiglu" : "gelu";
    c.model.norm = swiglu ? "rms" : "layer";
    c.model.position = swiglu ? "rotary" : "learned";
    c.model.bias = c.model.tied = !swiglu;
    c.model.kv_heads = swiglu ? 4 : 0;
    const model::ModelShape shape = make_model_shape(c, 0);
    const ParameterCounts n = parameter_counts(shape);
    const double head =
        shape.tied ? static_cast<double>(shape.width * (shape.norm == model::Norm::kLayer ? 2 : 1)) : n.head;
    EXPECT_EQ(12 * n.block + n.embedding + head, static_cast<double>(model::parameter_count(shape)));
  }
}

TEST(StepPrice, ModelChunksShrinkTheBubbleAndRecomputationCountsAsHardwareWork) {
  const model::ModelShape shape = make_model_shape(gpt2_124m(), 0);
  Division d;
  d.mesh.pipeline = 4;
  const StepPrice one = step_price(shape, d, 16, {});
  d.schedule = parallel::ScheduleKind::kInterleaved;
  d.virtual_stages = 3;
  EXPECT_LT(step_price(shape, d, 16, {}).fill, one.fill / 2);
  d.schedule = parallel::ScheduleKind::k1F1B;
  d.virtual_stages = 1;
  d.recompute = Recompute::kBlock;
  const StepPrice again = step_price(shape, d, 16, {});
  EXPECT_GT(again.step, one.step);
  EXPECT_GT(again.hardware_flops, 1.2 * again.model_flops);
}

TEST(StepPrice, KnowsWhatEachScheduleLeavesOfTheBubble) {
  config::Config c = gpt2_124m();
  c.model.vocab = 256;  // stages that are alike
  const model::ModelShape shape = make_model_shape(c, 0);
  Division d;
  d.mesh.pipeline = 4;
  double before = step_price(shape, d, 16, {}).fill_share;
  for (const auto& [kind, chunks] :
       {std::pair{parallel::ScheduleKind::kInterleaved, 2}, std::pair{parallel::ScheduleKind::kZbH1, 1},
        std::pair{parallel::ScheduleKind::kZbV, 2}}) {
    d.schedule = kind;
    d.virtual_stages = chunks;
    const StepPrice p = step_price(shape, d, 16, {});
    EXPECT_LT(p.fill_share, before) << name_of(kind);
    before = p.fill_share;
  }
}

TEST(StepPrice, OfZbH1IsThatOfThePlayedSchedule) {
  for (const std::int64_t vocab : {256, 50257})  // a last stage like the others, and one that is mostly head
    for (const std::int64_t pipeline : {2, 3, 4, 6})
      for (const std::int64_t batch : {1, 3, 8, 32}) {
        config::Config c = gpt2_124m();
        c.model.vocab = vocab;
        c.parallel.pipeline = pipeline;
        c.parallel.microbatch = 1;
        c.parallel.schedule = "zb-h1";
        c.train.batch = batch;
        const Layout layout = make_layout(c, static_cast<int>(pipeline), 0);
        const StepPrice p = step_price(layout.model, division_of(layout), batch, {});
        EXPECT_NEAR((p.steady + p.fill + p.messages) / step_cost(layout, {}).pipeline, 1, 0.1)
            << vocab << " tokens, " << pipeline << " stages, " << batch << " microbatches";
      }
}

TEST(StepPrice, RanksThatShareCoresGainNothingFromMoreOfThem) {
  const model::ModelShape shape = make_model_shape(gpt2_124m(), 0);
  const Machine two{.fp32 = 1e11, .cores = 2};
  Division d;
  d.mesh.data = 2;
  const StepPrice own = step_price(shape, d, 16, two);
  d.mesh.data = 8;
  const StepPrice shared = step_price(shape, d, 16, two);
  EXPECT_GT(shared.crowding, 0);
  EXPECT_GT(shared.step, own.step);
  EXPECT_LT(shared.step, 1.2 * own.step);
  EXPECT_NEAR(shared.bubble_share, 0, 0.01);
}

TEST(StepPrice, SpreadingTheOptimizerSavesItsTime) {
  const model::ModelShape shape = make_model_shape(gpt2_124m(), 0);
  Division d;
  d.mesh.data = 8;
  const StepPrice whole = step_price(shape, d, 16, {});
  d.zero = 1;
  const StepPrice spread = step_price(shape, d, 16, {});
  EXPECT_NEAR(spread.update, whole.update / 8, 1e-12);
  EXPECT_NEAR(spread.reduction, whole.reduction / 2, 1e-9);
  EXPECT_GT(spread.gathering, 0);
}

TEST(StepPrice, GradientsThatTravelInHalfTheBytesTakeHalfTheTime) {
  const model::ModelShape shape = make_model_shape(gpt2_124m(), 0);
  Machine m;
  m.links = {{.ranks = 8, .latency = 0, .rate = 1e9}};
  Division d;
  d.mesh.data = 8;
  const StepPrice four = step_price(shape, d, 16, m);
  d.gradient_bytes = 2;
  EXPECT_NEAR(step_price(shape, d, 16, m).reduction, four.reduction / 2, 1e-9);
}

}  // namespace
}  // namespace banyan::plan
