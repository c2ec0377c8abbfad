// Generation: the blocks of a stage run on the new rows of several sequences, with keys and values of earlier rows in a
// cache.  Uses the same layers as training; only the memory differs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/model/arena.hpp"
#include "src/model/attention_block.hpp"
#include "src/model/embedding.hpp"
#include "src/model/head.hpp"
#include "src/model/mlp_block.hpp"
#include "src/model/stage.hpp"

namespace banyan::model {

/// The layers of a stage; empty where the stage does not have them.
struct Layers {
  std::vector<AttentionBlock> attention;
  std::vector<MlpBlock> mlp;
  std::vector<Embedding> embedding;  ///< none or one
  std::vector<Head> head;            ///< none or one
};

class Generation {
 public:
  Generation(const StageSpec& spec, const Layers& layers, kernels::Backend& backend, TensorParallel& tensor,
             std::int32_t blocks, std::int32_t block_size, std::int64_t max_rows);
  /// See Stage.
  void infer(const InferBatch& batch, View hidden, const std::function<void()>& progress);
  void logits(std::span<const std::int32_t> rows, std::vector<float>& out, const std::function<void()>& progress);

 private:
  Compute compute(const std::function<void()>& progress) const;
  std::int64_t check(const InferBatch& batch) const;
  void logits_chunk(const Compute& c, std::span<const std::int32_t> rows, float* out);

  const StageSpec& spec_;
  const Layers& layers_;
  kernels::Backend& backend_;
  TensorParallel& tensor_;
  std::int32_t block_size_;
  std::int64_t max_rows_;
  Arena arena_;
  std::vector<KvCache> caches_;
  std::int64_t rows_ = 0;  ///< of the last call
};

}  // namespace banyan::model
