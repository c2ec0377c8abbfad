#include "src/model/stage_spec.hpp"

#include <numeric>

#include "src/base/error.hpp"

namespace banyan::model {
namespace {

void require(bool holds, const char* what) {
  if (!holds) throw BugError("the description of a pipeline stage contradicts itself: {}", what);
}

}  // namespace

void check_stage_spec(const StageSpec& spec) {
  const ModelShape& m = spec.shape;
  require(m.layers > 0 && m.width > 0 && m.heads > 0 && m.kv_heads > 0 && m.ffn > 0 && m.context > 0 && m.vocab > 0,
          "every extent of the model must be positive");
  require(m.width % m.heads == 0, "width must be a multiple of heads");
  require(m.heads % m.kv_heads == 0, "heads must be a multiple of kv_heads");
  require(m.position == Position::kLearned || m.head_size() % 2 == 0, "rotary positions need an even head size");
  require(spec.first_block >= 0 && spec.first_block <= spec.last_block && spec.last_block <= m.layers,
          "its blocks must lie in the model");
  require(!spec.has_embedding || spec.first_block == 0, "the embedding is before block 0");
  require(!spec.has_head || spec.last_block == m.layers, "the head is behind the last block");
  require(spec.tensor_size >= 1 && spec.tensor_rank >= 0 && spec.tensor_rank < spec.tensor_size,
          "the tensor rank must be inside the tensor group");
  require(m.kv_heads % spec.tensor_size == 0, "kv_heads must be a multiple of the tensor ranks");
  require(m.ffn % spec.tensor_size == 0, "ffn must be a multiple of the tensor ranks");
  require(spec.sequences >= 1 && spec.length >= 1 && spec.length <= m.context,
          "a microbatch holds at least one sequence no longer than the context");
  require(!spec.sequence || spec.rows() % spec.tensor_size == 0,
          "with sequence parallelism the rows must be a multiple of the tensor ranks");
  require(spec.slots >= 0, "slots cannot be negative");
  require(spec.part_blocks.empty() || std::accumulate(spec.part_blocks.begin(), spec.part_blocks.end(),
                                                      std::int64_t{0}) == spec.last_block - spec.first_block,
          "the parts of the backward pass must add up to its blocks");
}

}  // namespace banyan::model
