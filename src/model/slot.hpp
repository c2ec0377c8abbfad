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
  AttentionGradients d_attention;  ///< both empty unless the backward pass is split
  MlpGradients d_mlp;
};
/// Buffers named "<prefix>..." of an arena; those that are not there, because they are computed again, are `shared`'s.
BlockActivations block_activations(const Arena& arena, const std::string& prefix, const Arena& shared);

/// DataError when a token is below `lowest` or not in the vocabulary: the embedding would take it for another rank's.
void check_tokens(std::span<const std::int32_t> tokens, std::int64_t vocab, std::int32_t lowest);

/// Views of a slot's arena for a microbatch in one of the chunks.
struct ChunkActivations {
  View tokens, targets;
  std::vector<View> stream;              ///< input of each block of the chunk, then the output
  std::vector<BlockActivations> blocks;  ///< empty when they are not kept
  HeadActivations head;
};

class Slot {
 public:
  /// scratch: of the plan, too.
  Slot(const StageSpec& spec, kernels::Backend& backend, const ActivationPlan& plan, const Arena& scratch);
  /// Copies what the microbatch is.  BugError when an array has the wrong length.
  void load(const StageSpec& spec, kernels::Backend& backend, const MicrobatchData& data);

  View d_stream;                         ///< whatever the chunk
  std::vector<ChunkActivations> chunks;  ///< over each other
  const ChunkActivations& here() const { return chunks[static_cast<std::size_t>(chunk)]; }

  // Of the microbatch; written by load().
  int chunk = 0;
  std::vector<std::int64_t> sample;
  std::int64_t step = 0;
  float loss_scale = 1;
  bool train = false;

  /// Part of the backward pass that comes next; -1 when none may.
  int next_part = -1;
  bool input_next = false;  ///< of a split one, the gradient of the input comes next

 private:
  Arena arena_;
};

}  // namespace banyan::model
