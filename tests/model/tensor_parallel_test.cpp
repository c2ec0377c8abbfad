#include "src/model/tensor_parallel.hpp"

#include <gtest/gtest.h>

#include "tests/model/testing.hpp"

namespace banyan::model {
namespace {

using testing::MeshArgs;
using testing::MeshResult;
using testing::ReferenceBatch;
using testing::Tensors;

struct Case {
  int tensor, stages;
  bool sequence;
  Recompute recompute = Recompute::kNone;
  int row_blocks = 1;
  bool split = false;
};

/// Every case against one rank.
void compare(ModelShape shape, const std::vector<Case>& cases) {
  SCOPED_TRACE(testing::kind_name(shape));
  const Tensors params = testing::test_params(shape);
  const std::vector<ReferenceBatch> batches{testing::test_batch(shape, 2, 8, 0), testing::test_batch(shape, 2, 8, 1)};
  const MeshResult one = testing::run_mesh(shape, params, batches, {});
  for (const Case& c : cases) {
    SCOPED_TRACE(std::to_string(c.tensor) + " x " + std::to_string(c.stages) + (c.sequence ? ", sequence" : "") +
                 (c.recompute != Recompute::kNone ? ", recompute" : "") + (c.split ? ", split, " : ", ") +
                 std::to_string(c.row_blocks) + " row blocks");
    MeshArgs args;
    args.tensor = c.tensor;
    args.stages = c.stages;
    args.sequence = c.sequence;
    args.recompute = c.recompute;
    args.row_blocks = c.row_blocks;
    args.split = c.split;
    const MeshResult many = testing::run_mesh(shape, params, batches, args);
    EXPECT_NEAR(many.loss, one.loss, 1e-5 * one.loss);
    for (std::size_t r = 0; r < one.row_losses.size(); ++r)
      EXPECT_NEAR(many.row_losses[r], one.row_losses[r], 1e-4 * (1 + one.row_losses[r])) << "row " << r;
    std::string name;
    EXPECT_LT(testing::worst_difference(many.grads, one.grads, &name), 1e-4) << name;
    EXPECT_EQ(testing::run_mesh(shape, params, batches, args).grads, many.grads) << "the same mesh twice";
  }
}

const std::vector<Case> kCases{{2, 1, false},
                               {4, 1, false, Recompute::kBlock},
                               {2, 1, true},
                               {2, 1, true, Recompute::kCheap},
                               {4, 1, true, Recompute::kBlock},
                               {2, 2, false},
                               {2, 2, true},
                               {2, 1, false, Recompute::kNone, 3},
                               {4, 1, true, Recompute::kBlock, 8},
                               {2, 1, true, Recompute::kCheap, 3, true},
                               {2, 2, true, Recompute::kNone, 64}};

TEST(TensorParallel, Gpt2IsTheSameModelOnEveryMesh) { compare(testing::tiny_gpt2(), kCases); }

TEST(TensorParallel, LlamaIsTheSameModelOnEveryMesh) { compare(testing::tiny_llama(), kCases); }

TEST(TensorParallel, DropoutMasksAreThoseOfOneRank) {
  ModelShape shape = testing::tiny_gpt2();
  shape.dropout = 0.25;
  compare(shape, kCases);
  shape = testing::tiny_shapes()[2];
  shape.dropout = 0.25;
  compare(shape, {{4, 1, false}, {2, 1, true}});
}

TEST(TensorParallel, RanksWithoutVocabularyTakePart) {
  ModelShape shape = testing::tiny_gpt2();
  shape.vocab = 5;  // shares of 2, 2, 1, 0
  compare(shape, {{4, 1, false}, {4, 1, true}});
}

}  // namespace
}  // namespace banyan::model
