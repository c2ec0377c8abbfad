// Sums of the columns of a matrix of terms, added to what the results hold, in an order that depends on the shape only.
//
// The rows are cut into parts; a block adds up a strip of columns of one part, its eight warps every eighth row each; a
// second kernel adds the parts in their order.  No floating-point atomics: their order would be that of the clock.
#pragma once

#include <algorithm>

#include "kernels/cuda/element.cuh"
#include "kernels/cuda/ops.hpp"

namespace banyan::kernels::cuda {

inline constexpr int kSumWarps = 8;

/// How many parts, so that there are blocks for a whole device and no part has less than 64 rows; at most 64.
inline int64_t column_parts(int64_t rows) { return std::clamp<int64_t>(ceil_div(rows, 64), 1, 64); }

/// One block's share, at partial[part][sum][column].  add(row, column, valid, acc) adds a row's terms to acc[Sums][N].
template <int Sums, int N, class Add>
__device__ __forceinline__ void sum_columns(float* partial, int64_t rows, int64_t columns, int64_t strips,
                                            const Add& add) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t part = blockIdx.x / strips, strip = blockIdx.x % strips, parts = gridDim.x / strips;
  const int64_t per_part = ceil_div(rows, parts), end = min(rows, (part + 1) * per_part);
  const int64_t column = (strip * 32 + lane) * N;
  float acc[Sums][N] = {};
  if (column < columns)
    for (int64_t r = part * per_part + warp; r < end; r += kSumWarps) add(r, column, columns - column, acc);

  auto& tile = block_shared<float[Sums][kSumWarps][32 * N]>();
#pragma unroll
  for (int k = 0; k < Sums; ++k)
#pragma unroll
    for (int i = 0; i < N; ++i) tile[k][warp][i * 32 + lane] = acc[k][i];  // i * 32: no two lanes in one bank
  __syncthreads();
  for (int at = threadIdx.x; at < Sums * 32 * N; at += kSumWarps * 32) {
    const int k = at / (32 * N), i = at / 32 % N, l = at % 32;
    const int64_t c = (strip * 32 + l) * N + i;
    if (c >= columns) continue;
    float total = 0;
#pragma unroll
    for (int w = 0; w < kSumWarps; ++w) total += tile[k][w][i * 32 + l];
    partial[(part * Sums + k) * columns + c] = total;
  }
}

/// Starts the kernel that adds the parts to the results; `second` may be null.  (norm.cu)
cudaError_t add_parts(cudaStream_t s, float* first, float* second, const float* partial, int64_t parts,
                      int64_t columns);

}  // namespace banyan::kernels::cuda
