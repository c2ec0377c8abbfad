// What the kernels of attention in fp32 arithmetic share: tiles in shared memory and products of them in registers.
//
// A block has the rows of an outer tile (queries, or keys for their gradients) and meets one inner tile after the
// other.  Sixteen threads, half a warp, share four outer rows: thread x of them has the inner rows x and x + 16 of the
// scores, and D/16 columns of the sums.  So everything about an outer row stays within half a warp.
#pragma once

#include "kernels/cuda/attention.hpp"
#include "kernels/cuda/element.cuh"
#include "src/base/rng.hpp"

namespace banyan::kernels::cuda::attention {

inline constexpr int kInner = 32;
inline constexpr int kScores = kInner / 16;  ///< of an outer row, a thread's
inline constexpr int kScoreStride = kInner + 4;
inline constexpr float kInfinity = __builtin_huge_valf();

/// D: columns of the tiles, the head size rounded up.
template <int D>
struct Form {
  static constexpr int outer = attention_tile_rows(D), threads = outer * 4;
  static constexpr int stride = D + 4;  ///< rows 16 apart and rows one apart lie in different banks
  static constexpr int sums = D / 16, width = sums < 4 ? sums : 4;
};
template <int D>
using OuterTile = float[Form<D>::outer * Form<D>::stride];
template <int D>
using InnerTile = float[kInner * Form<D>::stride];
template <int D>
using ScoreTile = float[Form<D>::outer * kScoreStride];

/// Column of a thread's sum c.
template <int D>
__device__ __forceinline__ int column_of(int x, int c) {
  constexpr int W = Form<D>::width;
  return c / W * 16 * W + x * W + c % W;
}

/// tile = factor * the rows row_of(0..count), zero behind them and behind their columns.  groups: they can be read so.
template <int D, int Rows, class Row>
__device__ __forceinline__ void load_tile(float* tile, int count, int columns, bool groups, float factor, Row row_of) {
  using T = std::remove_cvref_t<decltype(*row_of(0))>;
  constexpr int N = kGroup<T>, kPerRow = D / N;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < Rows * kPerRow; i += Form<D>::threads) {
    const int r = i / kPerRow, c = i % kPerRow * N;
    float f[N] = {};
    if (r < count && c < columns) {
      if (groups)
        load<true>(f, row_of(r) + c, N);
      else
        load<false>(f, row_of(r) + c, columns - c);
    }
#pragma unroll
    for (int n = 0; n < N; ++n) f[n] *= factor;
    store<true>(tile + r * Form<D>::stride + c, f, N);
  }
}

/// s += dot products of the thread's rows of an outer tile with those of an inner one.
template <int D>
__device__ __forceinline__ void add_dots(float (&s)[4][kScores], const float* outer, const float* inner) {
  constexpr int stride = Form<D>::stride;
  const int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
#pragma unroll 4
  for (int d = 0; d < D; d += 4) {
    float a[4][4], b[kScores][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) load<true>(a[i], outer + (y * 4 + i) * stride + d, 4);
#pragma unroll
    for (int j = 0; j < kScores; ++j) load<true>(b[j], inner + (x + 16 * j) * stride + d, 4);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < kScores; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) s[i][j] += a[i][e] * b[j][e];
  }
}

/// sum += scores (the thread's outer rows, all inner rows) times the inner tile (all inner rows, the thread's columns).
template <int D>
__device__ __forceinline__ void add_product(float (&sum)[4][Form<D>::sums], const float* scores, const float* inner) {
  constexpr int stride = Form<D>::stride, C = Form<D>::sums, W = Form<D>::width;
  const int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
#pragma unroll 2
  for (int k = 0; k < kInner; k += 4) {
    float p[4][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) load<true>(p[i], scores + (y * 4 + i) * kScoreStride + k, 4);
#pragma unroll
    for (int e = 0; e < 4; ++e)
#pragma unroll
      for (int c = 0; c < C; c += W) {
        float v[W];
        const float* from = inner + (k + e) * stride + column_of<D>(x, c);
        if constexpr (W == 4) {
          load<true>(v, from, 4);
        } else {
#pragma unroll
          for (int w = 0; w < W; ++w) v[w] = from[w];
        }
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int w = 0; w < W; ++w) sum[i][c + w] += p[i][e] * v[w];
      }
  }
}

/// scores = the thread's values, for add_product.  Another thread of the half warp reads them after a barrier.
__device__ __forceinline__ void put_scores(float* scores, const float (&s)[4][kScores]) {
  const int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < kScores; ++j) scores[(y * 4 + i) * kScoreStride + x + 16 * j] = s[i][j];
}

/// The sum or the largest over the sixteen threads of an outer row.
template <class Combine>
__device__ __forceinline__ float over_row(float v, Combine combine) {
#pragma unroll
  for (int other = 8; other > 0; other /= 2) v = combine(v, __shfl_xor_sync(kAllLanes, v, other));
  return v;
}

/// to[c] = factor * sum for the thread's row i.
template <int D, class T>
__device__ __forceinline__ void store_row(T* to, const float (&sum)[Form<D>::sums], float factor, int columns) {
  const int x = static_cast<int>(threadIdx.x) % 16;
#pragma unroll
  for (int c = 0; c < Form<D>::sums; ++c) {
    const int at = column_of<D>(x, c);
    if (at < columns) to[at] = from_float<T>(factor * sum[c]);
  }
}

/// Dropout factors of the four keys from j on, a multiple of 4, for a query of head h.
__device__ __forceinline__ void dropout_factors(float (&f)[4], const AttentionSizes& z, int64_t sample, int position,
                                                int h, int j) {
  const rng::Block bits =
      rng::quad(z.dropout_key, sample, position, (z.channel0 + (static_cast<int64_t>(h) << 20) + j) / 4);
#pragma unroll
  for (int e = 0; e < 4; ++e) f[e] = bits[static_cast<std::size_t>(e)] >= z.least_kept ? z.kept : 0.0f;
}

/// s *= dropout factors of the thread's queries (outer rows, `count` of them from `row` on) and keys (inner rows from j
/// on).  Four neighbouring keys share a block of random numbers, which one thread computes for the half warp: by way of
/// `scores`, which holds nothing that is needed.
__device__ __forceinline__ void drop(float (&s)[4][kScores], float* scores, const AttentionSizes& z,
                                     const int64_t* sample, const int* position, int row, int count, int h, int j) {
  const int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
  constexpr int kQuads = kInner / 4;
#pragma unroll
  for (int q = x; q < 4 * kQuads; q += 16) {
    const int r = y * 4 + q / kQuads, k = q % kQuads * 4;
    float f[4] = {};
    if (r < count) dropout_factors(f, z, sample[row + r], position[row + r], h, j + k);
    store<true>(scores + r * kScoreStride + k, f, 4);
  }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int k = 0; k < kScores; ++k) s[i][k] *= scores[(y * 4 + i) * kScoreStride + x + 16 * k];
}

/// The columns that there are kernels for; narrow heads in bf16 are the tensor cores'.
template <class T, class Run>
cudaError_t for_head_size(int head_size, Run run) {
  if constexpr (std::is_same_v<T, float>) {
    if (head_size <= 32) return run(std::integral_constant<int, 32>{});
    if (head_size <= 64) return run(std::integral_constant<int, 64>{});
    if (head_size <= 128) return run(std::integral_constant<int, 128>{});
  }
  return run(std::integral_constant<int, 256>{});
}

}  // namespace banyan::kernels::cuda::attention
