// What the tests of the model share: tiny shapes of both kinds, parameter values that leave no term at zero, batches,
// and the way from what ranks hold back to logical tensors.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/backend.hpp"
#include "src/model/stage.hpp"
#include "tests/model/reference_model.hpp"

namespace banyan::testing {

model::ModelShape tiny_gpt2();                 ///< vocabulary of 37: no multiple of 2 or 4
model::ModelShape tiny_llama();                ///< 8 query heads share 4 key/value heads; not tied
std::vector<model::ModelShape> tiny_shapes();  ///< both, and a tied Llama with biases
std::string kind_name(const model::ModelShape& shape);

/// Values of every parameter: as initialised, plus noise, so that biases and norms take part.
Tensors test_params(const model::ModelShape& shape);
ReferenceBatch test_batch(const model::ModelShape& shape, std::int64_t sequences, std::int64_t length, int number = 0);
model::MicrobatchData microbatch(const ReferenceBatch& batch, float loss_scale, bool train = true);

/// A whole model on one rank.
model::StageSpec whole(const model::ModelShape& shape, const ReferenceBatch& batch);
/// Writes the slabs of `values` into the stage's parameters.
void set_params(model::Stage& stage, const Tensors& values);

/// One CPU backend with one thread, made once per calling thread.
kernels::Backend& backend();

/// Adds a stage's gradients into logical tensors: slabs of split tensors into their place; replicated ones from tensor
/// rank 0 alone, or summed over the ranks where they are partial.
void collect_grads(model::Stage& stage, Tensors& out);
/// Every parameter of the shape, filled with zeros.
Tensors zeros(const model::ModelShape& shape);

/// Largest  |a - b| / max(|b|, 1e-3 * norm of all b)  over the tensors, in 2-norms.  Writes the worst name.
double worst_difference(const Tensors& a, const Tensors& b, std::string* name);

struct MeshResult {
  double loss = 0;
  Tensors grads;
  std::vector<float> row_losses;
};
/// One microbatch per batch through tensor x stages ranks (threads): loss of all and gradients.
struct MeshArgs {
  int tensor = 1, stages = 1;
  bool sequence = false, split = false;
  int row_blocks = 1;
  model::Recompute recompute = model::Recompute::kNone;
  DType activations = DType::kF32;
  std::vector<std::int64_t> part_blocks = {};  ///< of a single stage
};
MeshResult run_mesh(const model::ModelShape& shape, const Tensors& params, const std::vector<ReferenceBatch>& batches,
                    const MeshArgs& args);

}  // namespace banyan::testing
