#include "src/plan/block_price.hpp"

#include <gtest/gtest.h>

#include "src/plan/layout.hpp"
#include "tests/plan/test_config.hpp"

namespace banyan::plan {
namespace {

TEST(BlockPrice, ProductsFillTilesAndWaves) {
  Machine m{.fp32 = 1e12, .units = 100, .tile_rows = 128, .tile_columns = 128};
  const RankSpeed speed{1e12, 1e15};
  // 100 tiles, one wave.
  EXPECT_NEAR(product_seconds(m, speed, 1280, 1280, 1000, 4), 2 * 1280.0 * 1280 * 1000 / 1e12, 1e-12);
  // One tile more takes a second wave.
  const double two = product_seconds(m, speed, 1280, 1408, 1000, 4);
  EXPECT_NEAR(two, 2 * 2 * 1280.0 * 1280 * 1000 / 1e12, 1e-12);
  // Bound by memory.
  EXPECT_NEAR(product_seconds(m, {1e12, 1e3}, 1280, 1280, 1000, 4), 4 * (2 * 1280e3 + 1280.0 * 1280) / 1e3, 1e-6);
}

TEST(BlockPrice, TensorRanksDivideProductsAndAddTraffic) {
  const model::ModelShape shape = make_model_shape(gpt2_124m(), 0);
  Division one, four;
  four.mesh.tensor = 4;
  const BlockPrice a = block_price(shape, one, {}), b = block_price(shape, four, {});
  EXPECT_NEAR(b.products.total(), a.products.total() / 4, 1e-9);
  EXPECT_EQ(a.tensor.total(), 0);
  EXPECT_GT(b.tensor.total(), 0);
  four.sequence = true;
  EXPECT_LT(block_price(shape, four, {}).streams.total(), b.streams.total());
}

TEST(BlockPrice, RecomputationIsAForwardPassInTheBackwardPass) {
  const model::ModelShape shape = make_model_shape(gpt2_124m(), 0);
  Division d;
  const BlockPrice plain = block_price(shape, d, {});
  d.recompute = Recompute::kBlock;
  const BlockPrice again = block_price(shape, d, {});
  EXPECT_DOUBLE_EQ(again.backward() - plain.backward(), plain.forward());
  d.recompute = Recompute::kCheap;
  const double cheap = block_price(shape, d, {}).backward() - plain.backward();
  EXPECT_GT(cheap, 0);
  EXPECT_LT(cheap, plain.streams.forward);
}

TEST(BlockPrice, AttentionThroughMemoryIsDearer) {
  const model::ModelShape shape = make_model_shape(gpt2_124m(), 0);
  Machine m;
  const double fused = block_price(shape, {}, m).attention.forward;
  m.fused_attention = false;
  EXPECT_GT(block_price(shape, {}, m).attention.forward, 1.9 * fused);
}

TEST(BlockPrice, RanksShareCores) {
  const Machine m{.fp32 = 1e9, .memory_rate = 10e9, .cores = 4};
  EXPECT_EQ(rank_speed(m, Precision::kFp32, 2).flops, 2e9);
  EXPECT_EQ(rank_speed(m, Precision::kFp32, 8).flops, 1e9);
  EXPECT_EQ(rank_speed(m, Precision::kFp32, 8).memory_rate, 2.5e9);
  EXPECT_EQ(core_turns(m, 2), 1);
  EXPECT_EQ(core_turns(m, 8), 2);
  EXPECT_EQ(core_turns({}, 8), 1);
}

}  // namespace
}  // namespace banyan::plan
