// Memory of one microbatch in flight: the arena of the activation plan, its buffers as the layers take them, and what
// the microbatch is.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "src/model/arena.hpp"
#include "src/model/attention_block.hpp"
#include "src/model/head.hpp"
#include "src/model/mlp_block.hpp"
#include "src/model/stage.hpp"

namespace banyan::model {

/// Results of one block that its backward pass needs.
struct BlockActivations {
  AttentionActivations attention;
  View middle;  ///< [stream rows, C]: the stream between the halves
  MlpActivations mlp;
};
BlockActivations block_activations(const Arena& arena, const std::string& prefix);

/// DataError when a token is below `lowest` or not in the vocabulary: the embedding would take it for another rank's.
void check_tokens(std::span<const std::int32_t> tokens, std::int64_t vocab, std::int32_t lowest);

class Slot {
 public:
  Slot(const StageSpec& spec, kernels::Backend& backend, const ActivationPlan& plan);
  /// Copies what the microbatch is.  BugError when an array has the wrong length.
  void load(const StageSpec& spec, kernels::Backend& backend, const MicrobatchData& data);

  // Views of the arena.
  View tokens, targets;
  std::vector<View> stream;              ///< input of each block here, then the output
  std::vector<BlockActivations> blocks;  ///< empty when they are not kept
  HeadActivations head;
  View d_stream;

  // Of the microbatch; written by load().
  std::vector<std::int64_t> sample;
  std::int64_t step = 0;
  float loss_scale = 1;
  bool train = false;

  /// Part of the backward pass that comes next; -1 when none may.
  int next_part = -1;

 private:
  Arena arena_;
};

}  // namespace banyan::model
