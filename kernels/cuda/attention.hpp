// Starts of the kernels of attention; conventions as in ops.hpp.
//
// The host says which queries and keys a block works on: a list of tiles, which attention_plan makes.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace banyan::kernels::cuda {

using std::int64_t;

/// Queries of one sequence, of every head.
struct QueryTile {
  int row = 0, count = 0;  ///< query rows
  int position = 0;        ///< of the first one in its sequence: query i of the tile sees keys j <= position + i
  int keys = 0;            ///< keys [0, keys) of the sequence are seen by any of them
  int key = 0;             ///< row of the sequence's key 0; with blocks: where its blocks begin in the table
  bool operator==(const QueryTile&) const = default;
};

/// Keys of one sequence, of every key head.
struct KeyTile {
  int row = 0, count = 0;      ///< key rows
  int first = 0;               ///< the first one's number in its sequence; a multiple of 4
  int q_row = 0, q_count = 0;  ///< the sequence's query rows
  int position = 0;            ///< of its first query
  bool operator==(const KeyTile&) const = default;
};

/// Keys of one sequence whose only query sees all of them, of every head.
struct KeyPart {
  int row = 0;               ///< of the query
  int first = 0, count = 0;  ///< keys [first, first + count) of the sequence
  int key = 0;               ///< as in QueryTile
  bool operator==(const KeyPart&) const = default;
};
/// The parts [first, first + count) are those of a query.
struct RowParts {
  int row = 0, first = 0, count = 0;
  bool operator==(const RowParts&) const = default;
};
/// Most keys of a part.
inline constexpr int kPartKeys = 128;
/// Floats that a head of a part leaves for the end: the largest score, the sum of weights, the weighted sum of values.
constexpr int64_t part_floats(int head_size) { return int64_t{head_size} + 2; }

/// Largest head that there are kernels for.
inline constexpr int kMostHeadSize = 256;
/// Rows of a tile: most `count` of QueryTile and KeyTile.
constexpr int attention_tile_rows(int head_size) { return head_size <= 128 ? 64 : 32; }

/// What is the same for all blocks.  Strides: elements from row to row.
struct AttentionSizes {
  int heads = 0, group = 0, head_size = 0;  ///< group: query heads that share a key head
  int block_size = 0;                       ///< of keys in blocks; 0: keys lie in rows
  int64_t rows = 0;                         ///< of queries: rows of out, row length of lse
  int64_t q_stride = 0, k_stride = 0, v_stride = 0;
  float scale = 1;
  // Dropout of probabilities, where kept > 1: bits >= least_kept are kept and multiplied by `kept`.
  float kept = 1;
  unsigned least_kept = 0;
  std::uint64_t dropout_key = 0;
  int64_t channel0 = 0;  ///< a multiple of 4
};

// table: of blocks, else null.  sample, position: with dropout, else null.  All in device memory.

template <class T>
cudaError_t attention_forward(cudaStream_t s, T* out, float* lse, const T* query, const T* key, const T* value,
                              const QueryTile* tiles, int64_t tile_count, const int* table, const int64_t* sample,
                              const int* position, AttentionSizes sizes);

/// The same without dropout where no sequence has more than one query, as in generation.  room: part_floats for every
/// head of every part.
template <class T>
cudaError_t attention_single(cudaStream_t s, T* out, float* lse, float* room, const T* query, const T* key,
                             const T* value, const KeyPart* parts, int64_t part_count, const RowParts* rows,
                             int64_t row_count, const int* table, AttentionSizes sizes);

/// delta[h, r] = sum over d of d_out[r, h, d] * out[r, h, d], which the two passes below need.
template <class T>
cudaError_t attention_delta(cudaStream_t s, float* delta, const T* d_out, const T* out, AttentionSizes sizes);
/// d_query of the tiles' rows.
template <class T>
cudaError_t attention_backward_query(cudaStream_t s, T* d_query, const T* d_out, const T* query, const T* key,
                                     const T* value, const float* lse, const float* delta, const QueryTile* tiles,
                                     int64_t tile_count, const int64_t* sample, const int* position,
                                     AttentionSizes sizes, int64_t d_stride);
/// d_key and d_value of the tiles' rows.
template <class T>
cudaError_t attention_backward_key(cudaStream_t s, T* d_key, T* d_value, const T* d_out, const T* query, const T* key,
                                   const T* value, const float* lse, const float* delta, const KeyTile* tiles,
                                   int64_t tile_count, const int64_t* sample, const int* position, AttentionSizes sizes,
                                   int64_t d_key_stride, int64_t d_value_stride);

// ---- the same of bf16 by tensor cores, for heads of up to kMostMmaHeadSize channels
inline constexpr int kMostMmaHeadSize = 128;
cudaError_t attention_mma_forward(cudaStream_t s, __nv_bfloat16* out, float* lse, const __nv_bfloat16* query,
                                  const __nv_bfloat16* key, const __nv_bfloat16* value, const QueryTile* tiles,
                                  int64_t tile_count, const int* table, const int64_t* sample, const int* position,
                                  AttentionSizes sizes);
cudaError_t attention_mma_query(cudaStream_t s, __nv_bfloat16* d_query, const __nv_bfloat16* d_out,
                                const __nv_bfloat16* query, const __nv_bfloat16* key, const __nv_bfloat16* value,
                                const float* lse, const float* delta, const QueryTile* tiles, int64_t tile_count,
                                const int64_t* sample, const int* position, AttentionSizes sizes, int64_t d_stride);
cudaError_t attention_mma_key(cudaStream_t s, __nv_bfloat16* d_key, __nv_bfloat16* d_value, const __nv_bfloat16* d_out,
                              const __nv_bfloat16* query, const __nv_bfloat16* key, const __nv_bfloat16* value,
                              const float* lse, const float* delta, const KeyTile* tiles, int64_t tile_count,
                              const int64_t* sample, const int* position, AttentionSizes sizes, int64_t d_key_stride,
                              int64_t d_value_stride);

}  // namespace banyan::kernels::cuda
