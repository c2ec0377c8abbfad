#include "src/plan/rank_memory.hpp"

#include <gtest/gtest.h>

namespace banyan::plan {
namespace {

model::ModelShape shape() {
  model::ModelShape s;
  s.layers = 8;
  s.width = 1024;
  s.heads = s.kv_heads = 16;
  s.ffn = 4096;
  s.context = 2048;
  s.vocab = 1000;
  s.dropout = 0.1;
  return s;
}

TEST(RankMemory, ABlockKeepsWhatKorthikantiCounts) {
  Division d;
  d.precision = Precision::kBf16;
  // sbh (34 + 5 a s / h), their equation 1.
  const double rows = 2048, wanted = rows * 1024 * (34 + 5.0 * 16 * 2048 / 1024);
  EXPECT_NEAR(block_activation_bytes(shape(), d, false) / wanted, 1, 0.01);
  d.recompute = Recompute::kCheap;  // two norms of 2 and GELU's 8 less
  EXPECT_NEAR(block_activation_bytes(shape(), d, true) / (rows * 1024 * (34 - 12)), 1, 0.01);
  d.recompute = Recompute::kAttention;
  EXPECT_NEAR(block_activation_bytes(shape(), d, false) / (rows * 1024 * 34), 1, 0.01);
  d.recompute = Recompute::kBlock;
  EXPECT_EQ(block_activation_bytes(shape(), d, false), rows * 1024 * 2);
  d.sequence = true;
  d.mesh.tensor = 4;
  EXPECT_EQ(block_activation_bytes(shape(), d, false), rows * 1024 * 2 / 4);
}

TEST(RankMemory, EveryStageOfZeroSpreadsMore) {
  Division d;
  d.precision = Precision::kBf16;
  d.mesh.data = 4;
  const Machine m{.gradient_bytes = 2};
  const double elements = 1e6;
  const auto state = [&](int zero) {
    d.zero = zero;
    const RankMemory r = rank_memory(shape(), d, 8, elements, 4, m);
    return r.parameters + r.gradients + r.optimizer;
  };
  EXPECT_EQ(state(0), 16 * elements);
  EXPECT_EQ(state(1), 7 * elements);
  EXPECT_EQ(state(2), 5.5 * elements);
  EXPECT_EQ(state(3), 4 * elements);
}

TEST(RankMemory, SchedulesHoldMicrobatches) {
  Division d;
  d.mesh.pipeline = 4;
  EXPECT_EQ(rank_memory(shape(), d, 2, 1, 16, {}).blocks_in_flight, 8);
  EXPECT_EQ(rank_memory(shape(), d, 2, 1, 3, {}).blocks_in_flight, 6);
  d.schedule = parallel::ScheduleKind::kInterleaved;
  d.virtual_stages = 2;  // 1 + (p - 1) / (p v) times as much: Korthikanti et al., appendix C
  EXPECT_EQ(rank_memory(shape(), d, 2, 1, 16, {}).blocks_in_flight, 8 * (1 + 3.0 / 8));
  d.virtual_stages = 1;
  d.schedule = parallel::ScheduleKind::kGpipe;
  EXPECT_EQ(rank_memory(shape(), d, 2, 1, 16, {}).blocks_in_flight, 32);
  for (const auto kind : {parallel::ScheduleKind::kZbH1, parallel::ScheduleKind::kZbV}) {
    d.schedule = kind;
    d.virtual_stages = kind == parallel::ScheduleKind::kZbV ? 2 : 1;
    EXPECT_EQ(rank_memory(shape(), d, 2, 1, 16, {}).blocks_in_flight, 8);
  }
}

TEST(RankMemory, ASplitBackwardPassKeepsGradientsOfLinearLayers) {
  Division d;
  const double whole = block_activation_bytes(shape(), d, true);
  d.schedule = parallel::ScheduleKind::kZbH1;
  EXPECT_EQ(block_activation_bytes(shape(), d, true) - whole, 4.0 * 2048 * (2 * 1024 + 3 * 1024 + 4096));
}

}  // namespace
}  // namespace banyan::plan
