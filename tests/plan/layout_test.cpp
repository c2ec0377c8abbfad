#include "src/plan/layout.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <numeric>

#include "src/base/error.hpp"
#include "src/model/local_params.hpp"
#include "tests/plan/test_config.hpp"

namespace banyan::plan {
namespace {

using config::Config;

TEST(Layout, ResolvesEveryZeroOfTheModel) {
  Config c = gpt2_124m();
  c.model.vocab = 0;
  EXPECT_EQ(make_model_shape(c, 777).vocab, 777);
  EXPECT_EQ(make_model_shape(c, 777).kv_heads, 12);
  EXPECT_EQ(make_model_shape(c, 777).ffn, 3072);
  c.model.mlp = "swiglu";
  EXPECT_EQ(make_model_shape(c, 777).ffn, 2048);
  c.model.width = 4104;  // 8/3 x 4104 = 10944 = 171 x 64
  EXPECT_EQ(make_model_shape(c, 777).ffn, 10944);
}

TEST(Layout, OfOneRankIsTheWholeModel) {
  const Layout layout = make_layout(gpt2_124m(), 1, 0);
  const model::StageSpec spec = layout.stage_spec({});
  EXPECT_TRUE(spec.has_embedding && spec.has_head && spec.gradients);
  EXPECT_EQ(spec.last_block, 12);
  EXPECT_EQ(spec.slots, 1);
  EXPECT_EQ(spec.rows(), 1024);
  EXPECT_EQ(layout.microbatches_of(0), (parallel::MicrobatchRange{0, 8}));
  EXPECT_EQ(layout.schedule_args({}).parts, std::vector{static_cast<int>(spec.part_blocks.size())});
}

TEST(Layout, StagesAndPartsCoverTheModelOnEveryMesh) {
  for (int tensor : {1, 2, 4})
    for (int pipeline : {1, 2, 3, 4, 12})
      for (int data : {1, 2, 3}) {
        Config c = gpt2_124m();
        c.parallel.tensor = tensor;
        c.parallel.pipeline = pipeline;
        c.parallel.bucket = 5 << 20;
        const Layout layout = make_layout(c, tensor * pipeline * data, 0);
        EXPECT_EQ(layout.mesh.data, data);
        std::int64_t next = 0, elements = 0;
        for (int p = 0; p < pipeline; ++p)
          for (int t = 0; t < tensor; ++t) {
            const model::StageSpec spec = layout.stage_spec({.tensor = t, .pipeline = p});
            if (t == 0) {
              EXPECT_EQ(spec.first_block, next);
              next = spec.last_block;
            }
            EXPECT_EQ(std::accumulate(spec.part_blocks.begin(), spec.part_blocks.end(), std::int64_t{0}),
                      spec.last_block - spec.first_block);
            EXPECT_EQ(spec.has_embedding, p == 0);
            EXPECT_EQ(spec.has_head, p == pipeline - 1);
            for (const model::LocalParam& param : model::local_params(spec))
              if (!param.tied_copy && !(param.replicated && t > 0)) elements += param.count.count();
          }
        EXPECT_EQ(next, 12);
        EXPECT_EQ(elements, model::parameter_count(layout.model));
      }
}

TEST(Layout, PutsFewerBlocksBesideTheHead) {
  Config c = gpt2_124m();
  c.parallel.pipeline = 2;
  const Layout layout = make_layout(c, 2, 0);
  EXPECT_GT(layout.places[0].count(), layout.places[1].count());
  c.parallel.stages = "5,7";
  EXPECT_EQ(parallel::format_stages(make_layout(c, 2, 0).places), "5,7");
}

TEST(Layout, ChunksGoRoundTheStages) {
  Config c = gpt2_124m();
  c.parallel.pipeline = 2;
  c.parallel.schedule = "interleaved";
  c.parallel.bucket = 1 << 20;
  for (const int virtual_stages : {0, 3}) {
    c.parallel.virtual_stages = virtual_stages;
    const Layout layout = make_layout(c, 2, 0);
    const int chunks = virtual_stages == 0 ? 2 : 3;
    ASSERT_EQ(layout.chunks, chunks);
    EXPECT_EQ(layout.head_stage(), 1);
    EXPECT_TRUE(layout.ties_stages());
    std::int64_t next = 0, elements = 0;
    for (int place = 0; place < 2 * chunks; ++place) {
      const model::StageSpec spec = layout.stage_spec({.pipeline = place % 2});
      const model::Range blocks = model::blocks_of_chunk(spec, place / 2);
      EXPECT_EQ(blocks.begin, next);
      next = blocks.end;
      EXPECT_EQ(layout.schedule_args({.pipeline = place % 2}).parts[static_cast<std::size_t>(place / 2)],
                static_cast<int>(model::parts_of_chunk(spec, place / 2).count()));
    }
    EXPECT_EQ(next, 12);
    for (int p = 0; p < 2; ++p)
      for (const model::LocalParam& param : model::local_params(layout.stage_spec({.pipeline = p})))
        if (!param.tied_copy) elements += param.count.count();
    EXPECT_EQ(elements, model::parameter_count(layout.model));
    // What does not train has no use for chunks.
    const Layout evaluation = make_layout(c, 2, 0, Use::kEvaluate);
    EXPECT_EQ(evaluation.chunks, 1);
    EXPECT_EQ(evaluation.places.size(), 2u);
    EXPECT_EQ(evaluation.places[0].end, layout.places[static_cast<std::size_t>(chunks)].begin);
  }
  c.parallel.virtual_stages = 2;
  c.parallel.stages = "4,3,3,2";
  EXPECT_EQ(parallel::format_stages(make_layout(c, 2, 0).places), "4,3,3,2");
  c.parallel.pipeline = 1;  // as the reference of a comparison has it
  c.parallel.stages = "auto";
  EXPECT_EQ(make_layout(c, 1, 0).chunks, 1);
}

TEST(Layout, InAVTheFirstStageHasBothEnds) {
  Config c = gpt2_124m();
  c.parallel.pipeline = 3;
  c.parallel.schedule = "zb-v";
  const Layout layout = make_layout(c, 3, 0);
  const model::StageSpec first = layout.stage_spec({}), last = layout.stage_spec({.pipeline = 2});
  EXPECT_TRUE(first.has_embedding && first.has_head && first.split_backward);
  EXPECT_FALSE(last.has_embedding || last.has_head);
  EXPECT_EQ(first.chunks.back().end, 12);
  EXPECT_EQ(last.chunks[0].end, last.chunks[1].begin);
  EXPECT_FALSE(layout.ties_stages());
  for (const model::LocalParam& p : model::local_params(first)) EXPECT_FALSE(p.tied || p.tied_copy) << p.logical.name;
  const parallel::PassTicks ticks = layout.schedule_args({}).ticks;
  EXPECT_EQ(ticks.forward, 100);
  EXPECT_GT(ticks.input, ticks.weights);
  EXPECT_EQ(make_layout(c, 3, 0, Use::kEvaluate).head_stage(), 2);
}

TEST(Layout, LeavesSparesAndSplitsUnevenBatches) {
  Config c = gpt2_124m();
  c.parallel.tensor = 2;
  c.train.batch = 7;
  const Layout layout = make_layout(c, 7, 0);
  EXPECT_EQ(layout.spares(), 1);
  EXPECT_EQ(layout.mesh.data, 3);
  EXPECT_EQ(layout.microbatches_of(0).count, 3);
  EXPECT_EQ(layout.microbatches_of(2), (parallel::MicrobatchRange{5, 2}));
}

TEST(Layout, ForGenerationHasNoActivationsAndNoBatchRules) {
  Config c = gpt2_124m();
  c.parallel.tensor = 2;
  c.parallel.sequence = true;
  c.train.batch = 1;
  const Layout layout = make_layout(c, 8, 0, Use::kGenerate);
  const model::StageSpec spec = layout.stage_spec({});
  EXPECT_EQ(spec.slots, 0);
  EXPECT_FALSE(spec.sequence);
  EXPECT_FALSE(spec.gradients);
}

/// The message must name every word given.
void expect_refused(std::function<void(Config&)> change, int world, std::int64_t vocab,
                    std::vector<std::string> words) {
  Config c = gpt2_124m();
  change(c);
  try {
    make_layout(c, world, vocab);
    FAIL() << "accepted; expected a message with " << words.front();
  } catch (const ConfigError& e) {
    for (const std::string& word : words) EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
  }
}

TEST(LayoutRules, NameBothKeysBothValuesAndAFix) {
  expect_refused([](Config& c) { c.parallel.tensor = 8; }, 8, 0,
                 {"model.heads = 12 cannot be split over parallel.tensor = 8", "(1 2 3 4 6 12)"});
  expect_refused([](Config& c) { c.parallel.tensor = 4, c.model.kv_heads = 2; }, 4, 0, {"model.kv_heads = 2"});
  expect_refused([](Config& c) { c.parallel.tensor = 2, c.model.ffn = 3001; }, 2, 0, {"model.ffn = 3001"});
  expect_refused([](Config& c) { c.parallel.data = 3; }, 4, 0, {"1 x 1 x 3 = 3, but the job has 4 ranks"});
  expect_refused([](Config& c) { c.parallel.pipeline = 13; }, 13, 0, {"parallel.pipeline = 13", "model.layers = 12"});
  expect_refused([](Config& c) { c.train.batch = 9, c.parallel.microbatch = 2; }, 1, 0,
                 {"train.batch = 9", "parallel.microbatch = 2"});
  expect_refused([](Config& c) { c.train.batch = 4, c.parallel.microbatch = 2; }, 3, 0,
                 {"train.batch = 4", "3 x 2 = 6", "use train.batch = 6"});
  expect_refused([](Config& c) { c.parallel.tensor = 2, c.parallel.sequence = true, c.model.context = 1023; }, 2, 0,
                 {"parallel.sequence = true", "1 x 1023 = 1023", "parallel.tensor = 2"});
  expect_refused([](Config& c) { c.model.vocab = 0; }, 1, 0, {"model.vocab = 0"});
  expect_refused([](Config& c) { c.model.vocab = 100; }, 1, 101, {"model.vocab = 100", "101 tokens"});
  expect_refused([](Config& c) { c.model.heads = 7; }, 1, 0, {"model.width = 768", "model.heads = 7"});
  expect_refused([](Config& c) { c.model.kv_heads = 5; }, 1, 0, {"model.heads = 12", "model.kv_heads = 5"});
  expect_refused([](Config& c) { c.model.position = "rotary", c.model.width = 36; }, 1, 0, {"36 / 12 = 3 is odd"});
  expect_refused([](Config& c) { c.parallel.pipeline = 2, c.parallel.stages = "6,5"; }, 2, 0,
                 {"parallel.stages = 6,5", "model.layers = 12"});
}

}  // namespace
}  // namespace banyan::plan
