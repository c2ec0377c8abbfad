#include "src/plan/memory.hpp"

#include <gtest/gtest.h>

#include "src/model/local_params.hpp"
#include "tests/plan/test_config.hpp"

namespace banyan::plan {
namespace {

std::int64_t bytes_of(const MemoryPlan& plan, const std::string& name) {
  for (const MemoryRow& row : plan.rows)
    if (row.name == name) return row.bytes;
  return 0;
}

TEST(MemoryPlan, OfGpt2HoldsFourCopiesOfTheParameters) {
  const config::Config c = gpt2_124m();
  const MemoryPlan plan = memory_plan(make_layout(c, 1, 0), c, {});
  // 124,439,808 parameters; alignment may add a little.
  EXPECT_NEAR(static_cast<double>(bytes_of(plan, "parameters")), 4.0 * 124439808, 1e4);
  EXPECT_EQ(bytes_of(plan, "parameters"), bytes_of(plan, "gradients"));
  EXPECT_EQ(2 * bytes_of(plan, "parameters"), bytes_of(plan, "optimizer"));
  std::int64_t sum = 0;
  for (const MemoryRow& row : plan.rows) sum += row.bytes;
  EXPECT_EQ(plan.total(), sum);
  EXPECT_NE(plan.str().find("total"), std::string::npos);
}

TEST(MemoryPlan, TellsTheMemoryOfAGpuFromThatOfItsHost) {
  config::Config c = gpt2_124m();
  const MemoryPlan cpu = memory_plan(make_layout(c, 1, 0), c, {});
  EXPECT_EQ(cpu.total(MemoryKind::kDevice), 0);
  EXPECT_EQ(cpu.scarcest(), cpu.on_node());
  c.run.backend = "cuda";
  const MemoryPlan gpu = memory_plan(make_layout(c, 1, 0), c, {});
  EXPECT_EQ(gpu.total(), gpu.total(MemoryKind::kDevice) + gpu.total(MemoryKind::kHost));
  EXPECT_EQ(gpu.scarcest(), gpu.total(MemoryKind::kDevice));
  EXPECT_EQ(gpu.on_node(), gpu.total(MemoryKind::kHost));
  std::int64_t computing = 0;
  for (const char* row : {"parameters", "gradients", "optimizer", "activations", "scratch", "kernels"})
    computing += bytes_of(gpu, row);
  EXPECT_EQ(gpu.scarcest(), computing);
  EXPECT_EQ(bytes_of(gpu, "pinned copy"), 3 * bytes_of(gpu, "parameters"));
  EXPECT_NE(gpu.str().find("of the GPU"), std::string::npos);
}

TEST(MemoryPlan, NcclsBuffersAreNoArraysOfTheProgram) {
  config::Config c = gpt2_124m();
  c.run.backend = "cuda";
  EXPECT_EQ(bytes_of(memory_plan(make_layout(c, 1, 0), c, {}), "NCCL"), 0);
  c.parallel.tensor = 2;
  const MemoryPlan plan = memory_plan(make_layout(c, 4, 0), c, {});  // a tensor and a data group
  EXPECT_EQ(bytes_of(plan, "NCCL"), std::int64_t{256} << 20);
  EXPECT_EQ(plan.arrays(MemoryKind::kDevice),
            plan.total(MemoryKind::kDevice) - bytes_of(plan, "NCCL") - bytes_of(plan, "kernels"));
  c.comm.device = "staged";
  EXPECT_EQ(bytes_of(memory_plan(make_layout(c, 4, 0), c, {}), "NCCL"), 0);
}

TEST(MemoryPlan, Bf16HalvesActivationsAndKeepsRoundedMatrices) {
  config::Config c = gpt2_124m();
  const MemoryPlan wide = memory_plan(make_layout(c, 1, 0), c, {});
  c.run.precision = "bf16";
  const MemoryPlan half = memory_plan(make_layout(c, 1, 0), c, {});
  for (const char* same : {"parameters", "gradients", "optimizer"})
    EXPECT_EQ(bytes_of(wide, same), bytes_of(half, same));
  EXPECT_EQ(bytes_of(wide, "rounded matrices"), 0);
  EXPECT_EQ(2 * bytes_of(half, "rounded matrices"), bytes_of(half, "parameters"));
  const double share =
      static_cast<double>(bytes_of(half, "activations")) / static_cast<double>(bytes_of(wide, "activations"));
  EXPECT_NEAR(share, 0.5, 0.01);  // statistics stay fp32
  EXPECT_EQ(bytes_of(memory_plan(make_layout(c, 1, 0, Use::kGenerate), c, {}), "rounded matrices"), 0);
}

TEST(MemoryPlan, ZeroSpreadsTheOptimizerStateOverTheDataRanks) {
  config::Config c = gpt2_124m();
  const std::int64_t whole = bytes_of(memory_plan(make_layout(c, 3, 0), c, {}), "optimizer");
  c.parallel.zero = 1;
  std::int64_t sum = 0;
  for (int d = 0; d < 3; ++d) sum += bytes_of(memory_plan(make_layout(c, 3, 0), c, {.data = d}), "optimizer");
  EXPECT_NEAR(static_cast<double>(sum), static_cast<double>(whole), 1e5);
}

TEST(MemoryPlan, TheCopyACheckpointIsWrittenFromIsSpreadOverTheRanksThatWriteIt) {
  config::Config c = gpt2_124m();
  c.checkpoint.async = "on";
  c.parallel.tensor = 2;
  const std::int64_t state = 3 * std::int64_t{124439808} * 4;
  std::int64_t sum = 0;
  for (int data = 0; data < 3; ++data)
    for (int tensor = 0; tensor < 2; ++tensor) {
      const MemoryPlan plan = memory_plan(make_layout(c, 6, 0), c, {.tensor = tensor, .data = data});
      EXPECT_LT(bytes_of(plan, "snapshot"), state / 5);
      sum += bytes_of(plan, "snapshot");
    }
  EXPECT_EQ(sum, state);
  const auto alone = [&] { return bytes_of(memory_plan(make_layout(c, 1, 0), c, {}), "snapshot"); };
  c.parallel.tensor = 1;
  EXPECT_EQ(alone(), state);
  c.checkpoint.every_steps = 0;  // only the last one, for which training does not go on
  EXPECT_EQ(alone(), 0);
  c.checkpoint.interval = "auto";
  EXPECT_EQ(alone(), state);
  c.checkpoint.async = "off";
  EXPECT_EQ(alone(), 0);
}

TEST(MemoryPlan, NodeLocalCheckpointsInMemoryCountBesideTheProcess) {
  config::Config c = gpt2_124m();
  c.checkpoint.async = "on";
  c.checkpoint.every_steps = 500;
  c.checkpoint.local_keep = 2;
  const MemoryPlan without = memory_plan(make_layout(c, 1, 0), c, {});
  EXPECT_EQ(without.on_node(), without.total());
  c.checkpoint.local = "/scratch";  // a disk
  const MemoryPlan disk = memory_plan(make_layout(c, 1, 0), c, {});
  EXPECT_EQ(disk.on_node(), disk.total());
  EXPECT_EQ(disk.total(), without.total() + (28 << 20));  // pieces on their way, chunks of a file that is copied
  c.checkpoint.local = "/dev/shm/run";
  const MemoryPlan memory = memory_plan(make_layout(c, 1, 0), c, {});
  EXPECT_EQ(memory.total(), disk.total());
  // Two, the one being written, and one that is being copied, each with another node's part.
  EXPECT_EQ(memory.on_node() - memory.total(), 8 * bytes_of(memory, "snapshot"));
  EXPECT_NE(memory.str().find("in /dev/shm/run: 2 node-local checkpoints"), std::string::npos);
  c.checkpoint.local_keep = 1;
  c.checkpoint.every_steps = 0;  // node-local ones come while training goes on, too
  const MemoryPlan one = memory_plan(make_layout(c, 1, 0), c, {});
  EXPECT_EQ(one.on_node() - one.total(), 4 * bytes_of(one, "snapshot"));
  EXPECT_GT(bytes_of(one, "snapshot"), 0);
}

TEST(MemoryPlan, GpipeKeepsAllMicrobatchesAnd1f1bAsManyAsStages) {
  config::Config c = gpt2_124m();
  c.parallel.pipeline = 2;
  const std::int64_t few = bytes_of(memory_plan(make_layout(c, 2, 0), c, {}), "activations");
  c.parallel.schedule = "gpipe";
  EXPECT_EQ(bytes_of(memory_plan(make_layout(c, 2, 0), c, {}), "activations"), 4 * few);
}

TEST(MemoryPlan, InterleavingKeepsMoreChunksOfMicrobatches) {
  config::Config c = gpt2_124m();
  c.parallel.pipeline = 2;
  c.parallel.stages = "6,6";
  const std::int64_t plain = bytes_of(memory_plan(make_layout(c, 2, 0), c, {}), "activations");
  c.parallel.schedule = "interleaved";
  c.parallel.stages = "3,3,3,3";
  const Layout layout = make_layout(c, 2, 0);
  EXPECT_EQ(layout.stage_spec({}).slots, 5);  // of half the blocks each, where there were 2 of all
  const std::int64_t more = bytes_of(memory_plan(layout, c, {}), "activations");
  EXPECT_NEAR(static_cast<double>(more) / static_cast<double>(plain), 5.0 / 4, 0.05);
}

TEST(MemoryPlan, SplitBackwardPassesKeepGradientsForTheWeights) {
  config::Config c = gpt2_124m();
  c.parallel.pipeline = 2;
  c.parallel.stages = "6,6";
  const MemoryPlan plain = memory_plan(make_layout(c, 2, 0), c, {});
  c.parallel.schedule = "zb-h1";
  const Layout layout = make_layout(c, 2, 0);
  const MemoryPlan split = memory_plan(layout, c, {});
  // Of each of 6 blocks and 2 microbatches: 2 x width, 3 x width and 4 x width of 1024 rows.
  EXPECT_EQ(bytes_of(split, "activations") - bytes_of(plain, "activations"), std::int64_t{2} * 6 * 9 * 768 * 1024 * 4);
  EXPECT_EQ(bytes_of(plain, "scratch") - bytes_of(split, "scratch"), std::int64_t{3072} * 1024 * 4);
  EXPECT_EQ(layout.stage_spec({.pipeline = 1}).slots, 2);
}

TEST(MemoryPlan, CountsWhatMessagesNeed) {
  config::Config c = gpt2_124m();
  EXPECT_EQ(bytes_of(memory_plan(make_layout(c, 1, 0), c, {}), "collectives"), 0);
  const Layout data = make_layout(c, 2, 0);
  EXPECT_EQ(bytes_of(memory_plan(data, c, {}), "collectives"), std::int64_t{data.parts(0)} << 20);
  EXPECT_EQ(bytes_of(memory_plan(data, c, {}), "shard staging"), 0);
  c.parallel.zero = 1;
  // Two buckets, of which the larger holds the token embedding of 50257 x 768.
  EXPECT_GT(bytes_of(memory_plan(make_layout(c, 2, 0), c, {}), "shard staging"), std::int64_t{50257} * 768 * 4);
  EXPECT_EQ(bytes_of(memory_plan(make_layout(c, 1, 0), c, {}), "shard staging"), 0);
  // What travels in bf16 is staged in any case, in half the room; updated norms and biases come back in four bytes.
  c.run.precision = c.run.grad_dtype = "bf16";
  const std::int64_t zero = bytes_of(memory_plan(make_layout(c, 2, 0), c, {}), "shard staging");
  EXPECT_GT(zero, std::int64_t{50257} * 768 * 2);
  EXPECT_LT(zero, (std::int64_t{50257} * 768 + (std::int64_t{25} << 18)) * 2 * 2);
  c.parallel.zero = 0;
  const std::int64_t whole = bytes_of(memory_plan(make_layout(c, 2, 0), c, {}), "shard staging");
  EXPECT_GT(whole, zero * 95 / 100);
  EXPECT_LT(whole, zero);
}

TEST(MemoryPlan, GivesKernelsMoreForMoreThreads) {
  config::Config c = gpt2_124m();
  c.run.threads = 1;
  const std::int64_t one = bytes_of(memory_plan(make_layout(c, 1, 0), c, {}), "kernels");
  c.run.threads = 4;
  EXPECT_EQ(bytes_of(memory_plan(make_layout(c, 1, 0), c, {}), "kernels"), 4 * one);
}

TEST(MemoryPlan, EvaluationAndGenerationNeedNoGradients) {
  const config::Config c = gpt2_124m();
  for (Use use : {Use::kEvaluate, Use::kGenerate}) {
    const MemoryPlan plan = memory_plan(make_layout(c, 1, 0, use), c, {});
    EXPECT_EQ(bytes_of(plan, "gradients"), 0);
    EXPECT_EQ(bytes_of(plan, "optimizer"), 0);
  }
}

TEST(MemoryPlan, GenerationCountsKeysAndValues) {
  const config::Config c = gpt2_124m();
  const model::StageSpec spec = make_layout(c, 1, 0, Use::kGenerate).stage_spec({});
  const std::int64_t few = generation_bytes(spec, 1, 10, 16, 32, 4), more = generation_bytes(spec, 1, 20, 16, 32, 4);
  // 160 positions of 12 blocks, a key and a value of 768 channels each.
  EXPECT_NEAR(static_cast<double>(more - few) / (160.0 * 12 * 2 * 768 * 4), 1, 0.01);
  EXPECT_GT(generation_bytes(spec, 1, 10, 16, 64, 4), few);
  EXPECT_GT(generation_bytes(spec, 1, 10, 16, 32, 8), few);
}

}  // namespace
}  // namespace banyan::plan
