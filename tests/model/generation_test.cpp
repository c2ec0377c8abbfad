#include "src/model/generation.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <mutex>
#include <numeric>

#include "src/base/error.hpp"
#include "tests/model/testing.hpp"

namespace banyan::model {
namespace {

using testing::ReferenceBatch;
using testing::Tensors;

constexpr std::int32_t kBlockSize = 4, kBlocksEach = 4, kSequences = 2, kLength = 13;

/// Two sequences of the same length; sequence s owns blocks in an order that is not the natural one.
struct Prompt {
  explicit Prompt(const ModelShape& shape) : batch(testing::test_batch(shape, kSequences, kLength)) {
    batch.sample.clear();
    for (std::int32_t s = 0; s < kSequences; ++s)
      for (std::int32_t b = 0; b < kBlocksEach; ++b)
        table.push_back((b * kSequences + s + 3) % (kSequences * kBlocksEach));
  }
  std::int32_t token(std::int32_t s, std::int32_t t) const {
    return batch.tokens[static_cast<std::size_t>(s * kLength + t)];
  }
  ReferenceBatch batch;
  std::vector<std::int32_t> table;
};

void expect_logits(const std::vector<float>& got, std::size_t at, const testing::ReferenceResult& want,
                   std::int64_t row, std::int64_t vocab) {
  for (std::int64_t v = 0; v < vocab; ++v) {
    const double x = want.logits[static_cast<std::size_t>(row * vocab + v)];
    ASSERT_NEAR(got[at * static_cast<std::size_t>(vocab) + static_cast<std::size_t>(v)], x, 1e-4 * (1 + std::abs(x)))
        << "row " << row << ", token " << v;
  }
}

/// Rows [from, to) of sequence 0 and [from2, to2) of sequence 1 as one call.
struct Call {
  Call(const Prompt& p, std::array<Range, kSequences> ranges) {
    batch_offsets = {0};
    for (std::int32_t s = 0; s < kSequences; ++s) {
      const Range r = ranges[static_cast<std::size_t>(s)];
      for (std::int64_t t = r.begin; t < r.end; ++t) {
        tokens.push_back(p.token(s, static_cast<std::int32_t>(t)));
        reference_rows.push_back(s * kLength + t);
      }
      batch_offsets.push_back(static_cast<std::int32_t>(tokens.size()));
      start.push_back(static_cast<std::int32_t>(r.begin));
    }
    rows.resize(tokens.size());
    std::iota(rows.begin(), rows.end(), 0);
    batch = {tokens, batch_offsets, start, p.table, kBlocksEach};
  }
  std::vector<std::int32_t> tokens, batch_offsets, start, rows;
  std::vector<std::int64_t> reference_rows;
  InferBatch batch;
};

/// Prefill of unequal lengths, then unequal steps, then single tokens.
std::vector<Call> calls_of(const Prompt& p) {
  std::vector<Call> calls;
  calls.emplace_back(p, std::array<Range, kSequences>{Range{0, 5}, Range{0, 2}});
  calls.emplace_back(p, std::array<Range, kSequences>{Range{5, 6}, Range{2, 9}});
  for (std::int64_t i = 0; i < 4; ++i)
    calls.emplace_back(p, std::array<Range, kSequences>{Range{6 + i, 7 + i}, Range{9 + i, 10 + i}});
  return calls;
}

StageSpec generating(const ModelShape& shape) {
  StageSpec spec;
  spec.shape = shape;
  spec.last_block = shape.layers;
  spec.slots = 0;
  spec.gradients = false;
  return spec;
}

TEST(Generation, CachedLogitsAreThoseOfTheWholeSequence) {
  for (const ModelShape& shape : testing::tiny_shapes()) {
    SCOPED_TRACE(testing::kind_name(shape));
    const Tensors params = testing::test_params(shape);
    const Prompt prompt(shape);
    const testing::ReferenceResult want = testing::reference_forward(shape, params, prompt.batch);
    const auto stage = Stage::make(generating(shape), testing::backend(), nullptr);
    testing::set_params(*stage, params);
    stage->make_cache(kSequences * kBlocksEach, kBlockSize, 16);
    for (const Call& call : calls_of(prompt)) {
      stage->infer(call.batch, {});
      std::vector<float> logits;
      stage->logits(call.rows, logits);
      ASSERT_EQ(logits.size(), call.rows.size() * static_cast<std::size_t>(shape.vocab));
      for (std::size_t i = 0; i < call.rows.size(); ++i)
        expect_logits(logits, i, want, call.reference_rows[i], shape.vocab);
    }
  }
}

/// The parameters as a stage with narrow weights knows them.
Tensors rounded(const ModelShape& shape, Tensors params, DType weights) {
  kernels::Backend& cpu = testing::backend();
  for (const LogicalParam& p : logical_params(shape)) {
    if (p.shape.rank() != 2 || p.name == "embed.position.weight") continue;
    std::vector<double>& values = params.at(p.name);
    std::vector<float> wide(values.begin(), values.end());
    const std::int64_t row = kernels::narrow_row_bytes(weights, p.shape[1]);
    std::vector<std::byte> memory(static_cast<std::size_t>(p.shape[0] * row));
    View narrow(memory.data(), weights, p.shape);
    narrow.row_stride = row / static_cast<std::int64_t>(size_of(weights));
    const View all(wide.data(), p.shape);
    cpu.narrow({}, narrow, all);
    std::vector<std::int32_t> every(static_cast<std::size_t>(p.shape[0]));
    std::iota(every.begin(), every.end(), 0);
    cpu.embedding_forward({}, all, ConstView(every.data(), {p.shape[0]}), narrow, 0);
    values.assign(wide.begin(), wide.end());
  }
  return params;
}

TEST(Generation, NarrowWeightsGiveTheLogitsOfRoundedParameters) {
  for (const ModelShape& shape : testing::tiny_shapes())
    for (const DType weights : {DType::kBF16, DType::kI8}) {
      SCOPED_TRACE(testing::kind_name(shape) + " " + std::string(name_of(weights)));
      const Tensors params = testing::test_params(shape), known = rounded(shape, params, weights);
      const Prompt prompt(shape);
      const testing::ReferenceResult want = testing::reference_forward(shape, known, prompt.batch);
      StageSpec spec = generating(shape);
      spec.weights = weights;
      const auto stage = Stage::make(spec, testing::backend(), nullptr);
      EXPECT_FALSE(stage->param_arena());
      testing::set_params(*stage, params);
      stage->make_cache(kSequences * kBlocksEach, kBlockSize, 16);
      for (const Call& call : calls_of(prompt)) {
        stage->infer(call.batch, {});
        std::vector<float> logits;
        stage->logits(call.rows, logits);
        for (std::size_t i = 0; i < call.rows.size(); ++i)
          expect_logits(logits, i, want, call.reference_rows[i], shape.vocab);
      }
    }
}

TEST(Generation, TensorAndPipelineRanksGiveTheSameLogits) {
  for (const ModelShape& shape : testing::tiny_shapes()) {
    SCOPED_TRACE(testing::kind_name(shape));
    const Tensors params = testing::test_params(shape);
    const Prompt prompt(shape);
    const testing::ReferenceResult want = testing::reference_forward(shape, params, prompt.batch);
    comm::run_loopback(4, [&](comm::World& world) {
      kernels::Backend& cpu = testing::backend();
      world.configure(
          {},
          [&](Queue q, View out, ConstView a, ConstView b, comm::ReduceOp op) {
            cpu.reduce(q, out, a, b, static_cast<kernels::ReduceOp>(op));
          },
          [&](Queue q, View out, ConstView in) { cpu.copy(q, out, in); });
      const int tensor = world.rank() % 2, place = world.rank() / 2;
      const auto group = world.group({place * 2, place * 2 + 1}, 1 + place, "tensor group");
      const auto line = world.group({tensor, 2 + tensor}, 10 + tensor, "pipeline group");
      StageSpec spec = generating(shape);
      spec.tensor_size = 2;
      spec.tensor_rank = tensor;
      spec.first_block = place;
      spec.last_block = place + 1;
      spec.has_embedding = place == 0;
      spec.has_head = place == 1;
      const auto stage = Stage::make(spec, cpu, group.get());
      testing::set_params(*stage, params);
      stage->make_cache(kSequences * kBlocksEach, kBlockSize, 16);
      for (const Call& call : calls_of(prompt)) {
        std::vector<float> hidden(call.tokens.size() * static_cast<std::size_t>(shape.width));
        const View rows(hidden.data(), {static_cast<std::int64_t>(call.tokens.size()), shape.width});
        if (place == 1) line->receive({}, rows, 0, 0, "hidden rows").wait();
        stage->infer(call.batch, rows);
        if (place == 0) {
          line->send({}, rows, 1, 0, "hidden rows").wait();
          continue;
        }
        std::vector<float> logits;
        stage->logits(call.rows, logits);
        for (std::size_t i = 0; i < call.rows.size(); ++i)
          expect_logits(logits, i, want, call.reference_rows[i], shape.vocab);
      }
    });
  }
}

TEST(Generation, WhatDoesNotFitIsRefused) {
  const ModelShape shape = testing::tiny_gpt2();
  const Prompt prompt(shape);
  const auto stage = Stage::make(generating(shape), testing::backend(), nullptr);
  testing::set_params(*stage, testing::test_params(shape));
  stage->make_cache(kSequences * kBlocksEach, kBlockSize, 4);
  const Call large(prompt, {Range{0, 4}, Range{0, 4}});
  EXPECT_THROW(stage->infer(large.batch, {}), BugError);  // 8 rows, room for 4
  Call far(prompt, {Range{0, 1}, Range{0, 1}});
  const std::vector<std::int32_t> start{16, 0};  // the context is 16
  far.batch.start = start;
  EXPECT_THROW(stage->infer(far.batch, {}), BugError);
  const Call fine(prompt, {Range{0, 1}, Range{0, 1}});
  stage->infer(fine.batch, {});
  std::vector<float> logits;
  EXPECT_THROW(stage->logits(std::vector<std::int32_t>{2}, logits), BugError);
}

}  // namespace
}  // namespace banyan::model
