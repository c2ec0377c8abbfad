#include "src/model/activation_plan.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "tests/model/testing.hpp"

namespace banyan::model {
namespace {

StageSpec spec_of(const ModelShape& shape) {
  StageSpec spec;
  spec.shape = shape;
  spec.last_block = shape.layers;
  spec.sequences = 2;
  spec.length = 8;
  return spec;
}

void expect_no_overlap(const std::vector<PlannedBuffer>& buffers, std::size_t bytes) {
  std::size_t end = 0;
  for (const PlannedBuffer& b : buffers) {
    EXPECT_GE(b.offset, end) << b.name;
    EXPECT_EQ(b.offset % 64, 0u) << b.name;
    EXPECT_EQ(b.bytes, static_cast<std::size_t>(b.shape.count()) * size_of(b.dtype)) << b.name;
    end = b.offset + b.bytes;
  }
  EXPECT_GE(bytes, end);
  EXPECT_LT(bytes, end + 64);
}

TEST(ActivationPlan, BuffersLieApartAndFillTheArena) {
  for (const ModelShape& shape : testing::tiny_shapes())
    for (const Recompute recompute : {Recompute::kNone, Recompute::kCheap, Recompute::kBlock}) {
      StageSpec spec = spec_of(shape);
      spec.recompute = recompute;
      const ActivationPlan plan = activation_plan(spec);
      expect_no_overlap(plan.slot, plan.slot_bytes);
      expect_no_overlap(plan.scratch, plan.scratch_bytes);
    }
}

TEST(ActivationPlan, RecomputationKeepsOnlyBlockInputs) {
  StageSpec spec = spec_of(testing::tiny_gpt2());
  spec.shape.layers = spec.last_block = 8;
  const std::size_t kept = activation_plan(spec).slot_bytes;
  spec.recompute = Recompute::kBlock;
  EXPECT_LT(activation_plan(spec).slot_bytes, kept / 4);
  // Of sixteen widths of channels a block keeps ten, not two norms, nor GELU's four; and the sums of norms and
  // attention.
  spec.recompute = Recompute::kCheap;
  EXPECT_LT(activation_plan(spec).slot_bytes, kept * 3 / 4);
  EXPECT_GT(activation_plan(spec).slot_bytes, kept * 9 / 16);
}

TEST(ActivationPlan, SequenceParallelismSplitsTheStream) {
  StageSpec spec = spec_of(testing::tiny_gpt2());
  spec.tensor_size = 2;
  const std::size_t whole = activation_plan(spec).slot_bytes;
  spec.sequence = true;
  const ActivationPlan plan = activation_plan(spec);
  EXPECT_LT(plan.slot_bytes, whole);
  for (const PlannedBuffer& b : plan.slot)
    if (b.name == "stream.1") {
      EXPECT_EQ(b.shape[0], 8);
    }
}

TEST(ActivationPlan, ASlotHoldsAnyChunk) {
  StageSpec whole = spec_of(testing::tiny_gpt2());
  whole.shape.layers = whole.last_block = 4;
  StageSpec two = whole;
  two.chunks = {{0, 2}, {2, 4}};
  const ActivationPlan plan = activation_plan(two);
  EXPECT_LT(plan.slot_bytes, activation_plan(whole).slot_bytes * 3 / 4);
  EXPECT_EQ(plan.slot.front().name, "d_stream");
  std::vector<PlannedBuffer> first, second;
  for (const PlannedBuffer& b : plan.slot) {
    const bool later = b.name.rfind(chunk_prefix(1), 0) == 0;
    if (!later) first.push_back(b);
    if (later || b.name == "d_stream") second.push_back(b);
  }
  EXPECT_EQ(second[1].name, "chunk.1.targets");
  for (const auto& list : {first, second}) {
    std::size_t end = 0;
    for (const PlannedBuffer& b : list) {
      EXPECT_GE(b.offset, end) << b.name;
      end = b.offset + b.bytes;
    }
    EXPECT_LE(end, plan.slot_bytes);
  }
}

TEST(ActivationPlan, NothingIsPlannedWithoutSlots) {
  StageSpec spec = spec_of(testing::tiny_gpt2());
  spec.slots = 0;
  EXPECT_EQ(activation_plan(spec).scratch_bytes, 0u);
}

TEST(ActivationPlan, LogitsStayBounded) {
  StageSpec spec = spec_of(testing::tiny_gpt2());
  spec.shape.vocab = 50257;
  EXPECT_EQ(head_chunk_rows(spec, 16), 16);
  for (const std::int64_t rows : {1000, 1024, 4096, 100000}) {
    const std::int64_t chunk = head_chunk_rows(spec, rows);
    EXPECT_LE(chunk * 50257 * 4, std::int64_t{128} << 20);
    EXPECT_GT(chunk, 300);
  }
  spec.shape.vocab = std::int64_t{1} << 40;
  EXPECT_EQ(head_chunk_rows(spec, 16), 1);
}

TEST(ActivationPlan, CacheOfGenerationGrowsWithItsBlocks) {
  const StageSpec spec = spec_of(testing::tiny_llama());
  const InferPlan small = infer_plan(spec, 4, 8, 16), large = infer_plan(spec, 8, 8, 16);
  expect_no_overlap(small.buffers, small.bytes);
  // 2 layers, keys and values, 4 blocks of 8 rows of 4 heads of 4 channels.
  EXPECT_EQ(large.bytes - small.bytes, 2u * 2 * 4 * 8 * 4 * 4 * 4);
  EXPECT_THROW(infer_plan(spec, 0, 8, 16), BugError);
}

}  // namespace
}  // namespace banyan::model
