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
  require(spec.row_blocks >= 1, "products have at least one block of rows");
  require(m.kv_heads % spec.tensor_size == 0, "kv_heads must be a multiple of the tensor ranks");
  require(m.ffn % spec.tensor_size == 0, "ffn must be a multiple of the tensor ranks");
  require(spec.sequences >= 1 && spec.length >= 1 && spec.length <= m.context,
          "a microbatch holds at least one sequence no longer than the context");
  require(!spec.sequence || spec.rows() % spec.tensor_size == 0,
          "with sequence parallelism the rows must be a multiple of the tensor ranks");
  require(
      spec.weights == DType::kF32 || ((spec.weights == DType::kBF16 || spec.weights == DType::kI8) && !spec.gradients),
      "narrow weights are bf16 or i8 and have no gradients");
  require(spec.slots >= 0, "slots cannot be negative");
  require(spec.activations == DType::kF32 || spec.activations == DType::kBF16, "activations are fp32 or bf16");
  require(spec.activations == DType::kF32 || spec.slots > 0, "generation computes in fp32");
  require(spec.activations == DType::kF32 || spec.weights == DType::kF32, "weights are narrow or have a rounded copy");
  require(spec.master_ranks > 0 && spec.master_rank >= 0 && spec.master_rank < spec.master_ranks,
          "master_rank is outside master_ranks");
  require(spec.master_ranks == 1 || spec.activations == DType::kBF16,
          "only what has a rounded copy can be spread over data ranks");
  require(!spec.split_backward || spec.recompute != Recompute::kBlock,
          "what gradients of weights are made of is not there where blocks are computed again");
  if (!spec.chunks.empty()) {
    require(spec.chunks.front().begin == spec.first_block && spec.chunks.back().end == spec.last_block,
            "its chunks must begin and end where its blocks do");
    for (std::size_t i = 0; i < spec.chunks.size(); ++i)
      require(spec.chunks[i].count() > 0 && (i == 0 || spec.chunks[i - 1].end <= spec.chunks[i].begin),
              "every chunk must have blocks of its own, behind those of the chunk before");
  }
  require(spec.part_blocks.empty() ||
              std::accumulate(spec.part_blocks.begin(), spec.part_blocks.end(), std::int64_t{0}) == block_count(spec),
          "the parts of the backward pass must add up to its blocks");
  for (int chunk = 0; chunk < chunk_count(spec); ++chunk) parts_of_chunk(spec, chunk);
}

int chunk_count(const StageSpec& spec) { return spec.chunks.empty() ? 1 : static_cast<int>(spec.chunks.size()); }

Range blocks_of_chunk(const StageSpec& spec, int chunk) {
  if (chunk < 0 || chunk >= chunk_count(spec)) throw BugError("the stage has no model chunk {}", chunk);
  return spec.chunks.empty() ? Range{spec.first_block, spec.last_block} : spec.chunks[static_cast<std::size_t>(chunk)];
}

Range parts_of_chunk(const StageSpec& spec, int chunk) {
  const std::int64_t behind = chunk_count(spec) - 1 - chunk;
  if (spec.part_blocks.empty()) return {behind, behind + 1};
  const auto all = std::ssize(spec.part_blocks);
  Range parts;
  for (int c = chunk_count(spec) - 1; c >= chunk; --c) {
    parts.begin = parts.end;
    std::int64_t blocks = blocks_of_chunk(spec, c).count();
    // A chunk without blocks has one part, too.
    do {
      require(parts.end < all, "every chunk needs backward parts of its own");
      blocks -= spec.part_blocks[static_cast<std::size_t>(parts.end++)];
    } while (blocks > 0);
    require(blocks == 0, "a backward part must end where its chunk does");
    if (c == 0) parts.end = all;
  }
  return parts;
}

std::int64_t block_count(const StageSpec& spec) {
  std::int64_t count = 0;
  for (int chunk = 0; chunk < chunk_count(spec); ++chunk) count += blocks_of_chunk(spec, chunk).count();
  return count;
}

}  // namespace banyan::model
