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

TEST(BlockPrice, BlocksOfRowsHideAllButTheLastBehindTheirProduct) {
  const model::ModelShape shape = make_model_shape(gpt2_124m(), 0);
  Machine m;
  m.links = {{.ranks = 2, .latency = 1e-5, .rate = 1e9}};
  for (const bool sequence : {false, true}) {
    Division d;
    d.mesh.tensor = 2;
    d.sequence = sequence;
    const BlockPrice whole = block_price(shape, d, m);
    double before = whole.tensor.total();
    for (const int blocks : {2, 4, 8}) {
      d.tensor_blocks = blocks;
      const BlockPrice p = block_price(shape, d, m);
      EXPECT_EQ(p.products.total(), whole.products.total());
      EXPECT_LT(p.tensor.total(), before) << blocks;
      // Never less than the last block's.
      EXPECT_GT(p.tensor.forward, whole.tensor.forward / blocks) << blocks;
      before = p.tensor.total();
    }
    // Where a message takes longer to start than to travel, blocks cost.
    Machine slow = m;
    slow.links[0].latency = 1;
    d.tensor_blocks = 8;
    const double many = block_price(shape, d, slow).tensor.total();
    d.tensor_blocks = 1;
    EXPECT_GT(many, block_price(shape, d, slow).tensor.total());
    // Alone there is nothing to hide.
    d.mesh.tensor = 1;
    d.tensor_blocks = 4;
    EXPECT_EQ(block_price(shape, d, m).tensor.total(), 0);
  }
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
