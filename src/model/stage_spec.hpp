// What a Stage is asked to be: which blocks, which share of the tensor group, how many rows.  Plain data.
#pragma once

#include <cstdint>
#include <vector>

#include "src/base/dtype.hpp"
#include "src/model/params.hpp"
#include "src/model/shapes.hpp"

namespace banyan::model {

/// What the backward pass computes again: nothing; what no matrix product is needed for (what the norms and the
/// activation put out); all of a block from its input.
enum class Recompute : std::uint8_t { kNone, kCheap, kBlock };

struct StageSpec {
  ModelShape shape;
  std::int64_t first_block = 0, last_block = 0;  ///< [first, last)
  std::vector<Range> chunks;                     ///< model chunks, in order: which of these blocks are here.  Empty:
                                                 ///< one chunk, all of them
  bool has_embedding = true, has_head = true;
  int tensor_rank = 0, tensor_size = 1;
  bool sequence = false;  ///< sequence parallelism: norm regions hold rows/tensor_size rows
  int row_blocks = 1;     ///< of products whose sums, or whose operands, travel over the tensor group (row_blocks.hpp)
  Recompute recompute = Recompute::kNone;
  bool split_backward = false;  ///< gradients of the linear layers' weights have passes of their own; not where whole
                                ///< blocks are computed again
  std::int64_t sequences = 1;   ///< of a microbatch
  std::int64_t length = 1;      ///< tokens of each; rows = sequences * length
  int slots = 1;                ///< microbatches in flight, each in one chunk; 0: no activations at all
                                ///< (generation only)
  std::vector<std::int64_t> part_blocks;  ///< number of blocks of each backward part, from the top; sums to the blocks
                                          ///< here, and parts end where chunks do.  Empty: one part for each chunk
  DType activations = DType::kF32;        ///< of activations, their gradients and their messages.  bf16: the matrices
                                          ///< that products read are rounded to it, too, beside the fp32 parameters
  int master_rank = 0, master_ranks = 1;  ///< ZeRO-1 with rounded matrices: this rank keeps the fp32 values of its rows
                                          ///< (owned_rows) of each, the others of so many data ranks those of theirs
  DType weights = DType::kF32;            ///< of the matrices that products read: f32, or narrow (bf16, i8) without
                                          ///< gradients
  bool gradients = true;                  ///< false: no gradient arena, no backward pass (evaluation, generation)
  std::uint64_t seed = 1;                 ///< of dropout

  std::int64_t rows() const { return sequences * length; }
  /// Rows of the residual stream held here (and of the messages between stages).
  std::int64_t stream_rows() const { return sequence ? rows() / tensor_size : rows(); }
};

int chunk_count(const StageSpec& spec);
Range blocks_of_chunk(const StageSpec& spec, int chunk);
/// Backward parts [first, last) of a chunk; those of the last chunk come first.
Range parts_of_chunk(const StageSpec& spec, int chunk);
/// All of the chunks here.
std::int64_t block_count(const StageSpec& spec);

/// BugError naming the field when a spec contradicts itself; config rules have refused what users can get wrong.
void check_stage_spec(const StageSpec& spec);

}  // namespace banyan::model
