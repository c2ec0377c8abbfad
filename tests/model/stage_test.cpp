#include "src/model/stage.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "src/base/error.hpp"
#include "tests/model/testing.hpp"

namespace banyan::model {
namespace {

using testing::MeshArgs;
using testing::MeshResult;
using testing::ReferenceBatch;
using testing::Tensors;

/// Gradient of the mean loss by central differences in double precision, at every `stride`-th element of each tensor;
/// the others are left as they are in `grads`.
Tensors difference_gradient(const ModelShape& shape, Tensors params, const ReferenceBatch& batch, const Tensors& grads,
                            double counted) {
  Tensors out = grads;
  for (auto& [name, values] : params) {
    const std::size_t stride = std::max<std::size_t>(1, values.size() / 23);
    for (std::size_t i = stride / 2; i < values.size(); i += stride) {
      const double kept = values[i], h = 1e-5;
      values[i] = kept + h;
      const double up = testing::reference_forward(shape, params, batch).loss;
      values[i] = kept - h;
      const double down = testing::reference_forward(shape, params, batch).loss;
      values[i] = kept;
      out.at(name)[i] = (up - down) / (2 * h) / counted;
    }
  }
  return out;
}

/// Elements of `a` at the places difference_gradient looked at.
Tensors sampled(const Tensors& a) {
  Tensors out;
  for (const auto& [name, values] : a) {
    const std::size_t stride = std::max<std::size_t>(1, values.size() / 23);
    for (std::size_t i = stride / 2; i < values.size(); i += stride) out[name].push_back(values[i]);
  }
  return out;
}

double counted(const ReferenceBatch& b) {
  double n = 0;
  for (const std::int32_t t : b.targets) n += t >= 0;
  return n;
}

std::vector<ModelShape> shapes_with_dropout() {
  std::vector<ModelShape> shapes = testing::tiny_shapes();
  shapes.push_back(testing::tiny_gpt2());
  shapes.back().dropout = 0.2;
  shapes.push_back(testing::tiny_llama());
  shapes.back().dropout = 0.1;
  return shapes;
}

TEST(Stage, LossAndGradientsMatchDoublePrecision) {
  for (const ModelShape& shape : shapes_with_dropout()) {
    SCOPED_TRACE(testing::kind_name(shape));
    const Tensors params = testing::test_params(shape);
    const ReferenceBatch batch = testing::test_batch(shape, 2, 9);
    const MeshResult got = testing::run_mesh(shape, params, {batch}, {});
    const testing::ReferenceResult want = testing::reference_forward(shape, params, batch);
    EXPECT_NEAR(got.loss, want.loss / counted(batch), 1e-5 * want.loss / counted(batch));
    for (std::size_t r = 0; r < want.losses.size(); ++r) {
      EXPECT_NEAR(got.row_losses[r], want.losses[r], 1e-4 * (1 + want.losses[r])) << "row " << r;
      if (batch.targets[r] < 0) {
        EXPECT_EQ(got.row_losses[r], 0.0f);
      }
    }
    const Tensors expected = difference_gradient(shape, params, batch, got.grads, counted(batch));
    std::string name;
    EXPECT_LT(testing::worst_difference(sampled(got.grads), sampled(expected), &name), 1e-4) << name;
  }
}

TEST(Stage, Bf16StaysNearFp32OnEveryMesh) {
  for (const ModelShape& shape : shapes_with_dropout()) {
    SCOPED_TRACE(testing::kind_name(shape));
    const Tensors params = testing::test_params(shape);
    const std::vector<ReferenceBatch> batches{testing::test_batch(shape, 2, 8), testing::test_batch(shape, 2, 8, 1)};
    const MeshResult want = testing::run_mesh(shape, params, batches, {});
    for (MeshArgs args : {MeshArgs{}, MeshArgs{.tensor = 2}, MeshArgs{.tensor = 2, .stages = 2, .sequence = true},
                          MeshArgs{.recompute = Recompute::kCheap}, MeshArgs{.recompute = Recompute::kBlock}}) {
      SCOPED_TRACE(std::to_string(args.tensor) + " x " + std::to_string(args.stages));
      args.activations = DType::kBF16;
      const MeshResult got = testing::run_mesh(shape, params, batches, args);
      EXPECT_NEAR(got.loss, want.loss, 5e-3 * want.loss);
      EXPECT_NE(got.loss, want.loss);
      std::string name;
      // The true gradient of a key bias is zero, so that only roundings are left of it.
      EXPECT_LT(testing::worst_difference(got.grads, want.grads, &name), 0.1) << name;
    }
  }
}

TEST(Stage, EvaluationHasNoDropoutAndLeavesGradientsAlone) {
  ModelShape shape = testing::tiny_gpt2();
  shape.dropout = 0.3;
  const Tensors params = testing::test_params(shape);
  ReferenceBatch batch = testing::test_batch(shape, 2, 8);
  for (const bool gradients : {false, true}) {
    StageSpec spec = testing::whole(shape, batch);
    spec.gradients = gradients;
    const auto stage = Stage::make(spec, testing::backend(), nullptr);
    testing::set_params(*stage, params);
    stage->load(0, testing::microbatch(batch, 1, false));
    stage->forward(0);
    ReferenceBatch plain = batch;
    plain.sample.clear();
    const double want = testing::reference_forward(shape, params, plain).loss;
    EXPECT_NEAR(*stage->loss_sum(0), want, 1e-5 * want);
    EXPECT_THROW(stage->backward(0, 0), BugError);
    if (gradients) {
      EXPECT_EQ(*testing::backend().sum_squares({}, stage->grad_arena()), 0);
    }
  }
}

TEST(Stage, RecomputationAndPartsGiveTheSameBits) {
  for (ModelShape shape : testing::tiny_shapes()) {
    shape.dropout = 0.1;
    SCOPED_TRACE(testing::kind_name(shape));
    const Tensors params = testing::test_params(shape);
    const std::vector<ReferenceBatch> batches{testing::test_batch(shape, 2, 8, 0), testing::test_batch(shape, 2, 8, 1)};
    const MeshResult kept = testing::run_mesh(shape, params, batches, {});
    MeshArgs args;
    EXPECT_EQ(testing::run_mesh(shape, params, batches, args).grads, kept.grads) << "the same twice";
    for (const Recompute recompute : {Recompute::kCheap, Recompute::kBlock}) {
      args.recompute = recompute;
      args.part_blocks = {};
      EXPECT_EQ(testing::run_mesh(shape, params, batches, args).grads, kept.grads) << "recomputation";
      args.part_blocks = {1, 1};
      EXPECT_EQ(testing::run_mesh(shape, params, batches, args).grads, kept.grads) << "two parts";
    }
  }
}

TEST(Stage, GradientsOfMicrobatchesAddUp) {
  const ModelShape shape = testing::tiny_llama();
  const Tensors params = testing::test_params(shape);
  ReferenceBatch both = testing::test_batch(shape, 2, 7), first = both, second = both;
  first.sequences = second.sequences = 1;
  for (auto* v : {&first.tokens, &first.targets}) v->resize(7);
  for (auto* v : {&second.tokens, &second.targets}) v->erase(v->begin(), v->begin() + 7);
  const MeshResult together = testing::run_mesh(shape, params, {both}, {});
  const MeshResult apart = testing::run_mesh(shape, params, {first, second}, {});
  EXPECT_NEAR(apart.loss, together.loss, 1e-6 * together.loss);
  std::string name;
  EXPECT_LT(testing::worst_difference(apart.grads, together.grads, &name), 1e-5) << name;
}

TEST(Stage, TwoStagesMakeOneModel) {
  for (const ModelShape& shape : shapes_with_dropout()) {
    SCOPED_TRACE(testing::kind_name(shape));
    const Tensors params = testing::test_params(shape);
    const std::vector<ReferenceBatch> batches{testing::test_batch(shape, 2, 8, 0), testing::test_batch(shape, 2, 8, 1)};
    const MeshResult one = testing::run_mesh(shape, params, batches, {});
    MeshArgs args;
    args.stages = 2;
    const MeshResult two = testing::run_mesh(shape, params, batches, args);
    EXPECT_EQ(two.row_losses, one.row_losses);
    std::string name;
    EXPECT_LT(testing::worst_difference(two.grads, one.grads, &name), 1e-6) << name;
  }
}

TEST(Stage, LogitsInSeveralChunksGiveTheSameLoss) {
  ModelShape shape = testing::tiny_gpt2();
  shape.layers = 1;
  shape.width = shape.ffn = 8;
  shape.heads = shape.kv_heads = 2;
  shape.vocab = 70001;  // 479 rows of logits fit
  shape.context = 500;
  const Tensors params = testing::test_params(shape);
  const ReferenceBatch batch = testing::test_batch(shape, 1, 500);
  StageSpec spec = testing::whole(shape, batch);
  ASSERT_EQ(head_chunk_rows(spec, spec.rows()), 250);
  const MeshResult all = testing::run_mesh(shape, params, {batch}, {});
  ReferenceBatch half = batch;  // causal: the first half does not see the second
  half.length = 250;
  half.tokens.resize(250);
  half.targets.resize(250);
  const MeshResult first = testing::run_mesh(shape, params, {half}, {});
  for (std::size_t r = 0; r < 250; ++r) EXPECT_NEAR(all.row_losses[r], first.row_losses[r], 1e-4) << r;
  double squares = 0;
  for (const double g : all.grads.at("embed.token.weight")) squares += g * g;
  EXPECT_GT(squares, 0);
  EXPECT_TRUE(std::isfinite(squares));
}

TEST(Stage, InitialisationIsTheSameForEveryShare) {
  const ModelShape shape = testing::tiny_llama();
  const ReferenceBatch batch = testing::test_batch(shape, 1, 8);
  Tensors logical = testing::zeros(shape);
  const auto stage = Stage::make(testing::whole(shape, batch), testing::backend(), nullptr);
  stage->init_params(4);
  for (const LocalParam& p : stage->params())
    for (std::int64_t i = 0; i < p.count.count(); ++i)
      logical[p.logical.name][static_cast<std::size_t>(i)] = p.param.as<float>()[i];
  StageSpec spec = testing::whole(shape, batch);
  spec.has_embedding = false;
  spec.first_block = 1;
  const auto part = Stage::make(spec, testing::backend(), nullptr);
  part->init_params(4);
  for (const LocalParam& p : part->params())
    for (std::int64_t i = 0; i < p.count.count(); ++i)
      ASSERT_EQ(p.param.as<float>()[i], logical[p.logical.name][static_cast<std::size_t>(i)]) << p.logical.name;
}

TEST(Stage, SeveralChunksGiveTheBitsOfOne) {
  for (const Recompute recompute : {Recompute::kNone, Recompute::kCheap, Recompute::kBlock})
    for (const ModelShape& shape : shapes_with_dropout()) {
      SCOPED_TRACE(testing::kind_name(shape));
      const Tensors params = testing::test_params(shape);
      const ReferenceBatch batch = testing::test_batch(shape, 2, 9);
      StageSpec spec = testing::whole(shape, batch);
      spec.recompute = recompute;
      spec.part_blocks = {1, 1};
      const auto one = Stage::make(spec, testing::backend(), nullptr);
      spec.chunks = {{0, 1}, {1, 2}};
      spec.slots = 2;
      const auto two = Stage::make(spec, testing::backend(), nullptr);
      for (Stage* stage : {one.get(), two.get()}) {
        testing::set_params(*stage, params);
        stage->zero_grads();
      }
      for (int round = 0; round < 2; ++round) {
        MicrobatchData data = testing::microbatch(batch, 0.1f);
        one->load(0, data);
        one->forward(0);
        one->backward(0, 0);
        one->backward(0, 1);

        // The slots change places, so that each holds both chunks in turn.
        const int low = round, high = 1 - round;
        two->load(low, data);
        two->forward(low);
        data.chunk = 1;
        two->load(high, data);
        testing::backend().copy({}, two->input(high, 1), two->output(low, 0));
        two->forward(high);
        EXPECT_EQ(*two->loss_sum(high), *one->loss_sum(0));
        EXPECT_THROW(two->loss_sum(low), BugError);
        EXPECT_THROW(two->backward(low, 0), BugError);  // that part is of the other chunk
        two->backward(high, 0);
        testing::backend().copy({}, two->d_output(low), two->d_input(high));
        two->backward(low, 1);
      }
      EXPECT_EQ(std::memcmp(one->grad_arena().data, two->grad_arena().data, one->grad_arena().bytes()), 0);
    }
}

TEST(Stage, SplitBackwardPassesGiveTheBitsOfWholeOnes) {
  for (const ModelShape& shape : shapes_with_dropout())
    for (MeshArgs args :
         {MeshArgs{.part_blocks = {1, 1}}, MeshArgs{.tensor = 2}, MeshArgs{.tensor = 2, .sequence = true},
          MeshArgs{.stages = 2}, MeshArgs{.tensor = 2, .sequence = true, .recompute = Recompute::kCheap}}) {
      SCOPED_TRACE(testing::kind_name(shape));
      const Tensors params = testing::test_params(shape);
      const std::vector<ReferenceBatch> batches{testing::test_batch(shape, 2, 9), testing::test_batch(shape, 2, 9, 1)};
      const MeshResult whole = testing::run_mesh(shape, params, batches, args);
      args.split = true;
      const MeshResult split = testing::run_mesh(shape, params, batches, args);
      EXPECT_EQ(whole.loss, split.loss);
      EXPECT_EQ(whole.grads, split.grads);
    }
}

// The next microbatches may go on before the gradients of weights are made.
TEST(Stage, GradientsOfWeightsMayWait) {
  const ModelShape shape = testing::tiny_gpt2();
  const ReferenceBatch batches[]{testing::test_batch(shape, 2, 9), testing::test_batch(shape, 2, 9, 1)};
  StageSpec spec = testing::whole(shape, batches[0]);
  spec.slots = 2;
  spec.part_blocks = {1, 1};
  spec.split_backward = true;
  const auto now = Stage::make(spec, testing::backend(), nullptr),
             later = Stage::make(spec, testing::backend(), nullptr);
  const auto input = [&](Stage& stage, int i) {
    stage.load(i, testing::microbatch(batches[i], 1));
    stage.forward(i);
    EXPECT_THROW(stage.backward(i, 0), BugError);
    EXPECT_THROW(stage.backward_weights(i, 0), BugError);
    stage.backward_input(i);
    EXPECT_THROW(stage.backward_input(i), BugError);
  };
  const auto weights = [](Stage& stage, int i) {
    stage.backward_weights(i, 0);
    stage.backward_weights(i, 1);
    EXPECT_THROW(stage.backward_weights(i, 1), BugError);
  };
  for (Stage* stage : {now.get(), later.get()}) {
    testing::set_params(*stage, testing::test_params(shape));
    stage->zero_grads();
  }
  for (int i : {0, 1}) {
    input(*now, i);
    weights(*now, i);
  }
  input(*later, 0);
  input(*later, 1);
  weights(*later, 0);
  weights(*later, 1);
  Tensors a = testing::zeros(shape), b = a;
  testing::collect_grads(*now, a);
  testing::collect_grads(*later, b);
  EXPECT_EQ(a, b);
  spec.recompute = Recompute::kBlock;
  EXPECT_THROW(Stage::make(spec, testing::backend(), nullptr), BugError);
}

TEST(Stage, MisuseIsABug) {
  const ModelShape shape = testing::tiny_gpt2();
  const ReferenceBatch batch = testing::test_batch(shape, 1, 8);
  StageSpec spec = testing::whole(shape, batch);
  spec.part_blocks = {1, 1};
  const auto stage = Stage::make(spec, testing::backend(), nullptr);
  testing::set_params(*stage, testing::test_params(shape));
  EXPECT_THROW(stage->forward(1), BugError);
  MicrobatchData data = testing::microbatch(batch, 1);
  data.tokens = data.tokens.first(3);
  EXPECT_THROW(stage->load(0, data), BugError);
  stage->load(0, testing::microbatch(batch, 1));
  stage->forward(0);
  EXPECT_THROW(stage->backward(0, 1), BugError);
  stage->backward(0, 0);
  stage->backward(0, 1);
  EXPECT_THROW(stage->backward(0, 0), BugError);
  EXPECT_THROW(stage->infer({}, {}), BugError);
  spec.tensor_size = 2;
  EXPECT_THROW(Stage::make(spec, testing::backend(), nullptr), BugError);
}

TEST(Stage, TokensOutsideTheVocabularyAreRefused) {
  const ModelShape shape = testing::tiny_gpt2();
  const auto stage = Stage::make(testing::whole(shape, testing::test_batch(shape, 1, 8)), testing::backend(), nullptr);
  for (const std::int32_t token : {37, -1}) {
    ReferenceBatch batch = testing::test_batch(shape, 1, 8);
    batch.tokens[3] = token;
    EXPECT_THROW(stage->load(0, testing::microbatch(batch, 1)), DataError);
  }
  ReferenceBatch batch = testing::test_batch(shape, 1, 8);
  batch.targets[3] = 37;
  EXPECT_THROW(stage->load(0, testing::microbatch(batch, 1)), DataError);
  batch.targets[3] = -100;  // no target
  EXPECT_NO_THROW(stage->load(0, testing::microbatch(batch, 1)));
}

TEST(Stage, ProgressIsCalledDuringBothPasses) {
  const ModelShape shape = testing::tiny_gpt2();
  const ReferenceBatch batch = testing::test_batch(shape, 1, 8);
  const auto stage = Stage::make(testing::whole(shape, batch), testing::backend(), nullptr);
  testing::set_params(*stage, testing::test_params(shape));
  int calls = 0;
  stage->set_progress([&] { ++calls; });
  stage->load(0, testing::microbatch(batch, 1));
  stage->forward(0);
  const int forward = calls;
  EXPECT_GE(forward, 4 * shape.layers);
  stage->backward(0, 0);
  EXPECT_GE(calls - forward, 8 * shape.layers);
}

}  // namespace
}  // namespace banyan::model
