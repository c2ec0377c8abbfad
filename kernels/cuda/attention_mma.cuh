// What the kernels of attention in bf16 share: tiles in shared memory, filled behind the arithmetic's back, and
// products of them by the tensor cores.
//
// A block of four warps has 64 rows of an outer tile (queries, or keys for their gradients), a warp 16 of them, and
// meets one inner tile after the other.  All products are m16n8k16: of a 16 x 8 block of sums lane l has rows l/4 and
// l/4 + 8, columns l%4*2 and the next (PTX ISA, "Matrix Fragments for mma.m16n8k16").  So four neighbouring lanes have
// everything of two outer rows, and scores become the left side of the next product without leaving their registers.
#pragma once

#include "kernels/cuda/attention.hpp"
#include "kernels/cuda/element.cuh"
#include "src/base/rng.hpp"

namespace banyan::kernels::cuda::attention::mma {

inline constexpr int kRows = 64, kThreads = 128;
inline constexpr float kInfinity = __builtin_huge_valf();
inline constexpr float kLog2e = 1.44269504088896340736f;

/// Elements from row to row of a tile: eight rows lie in different banks, as ldmatrix reads them.
template <int D>
inline constexpr int kStride = D + 8;
template <int D, int Rows>
struct Tile {
  bf16 element[Rows * kStride<D>];
};

__device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % 32; }
__device__ __forceinline__ int warp() { return static_cast<int>(threadIdx.x) / 32; }

/// Asks for the rows row_of(0..count) of a tile, zero behind them and behind their columns.  groups: 16 bytes at a time
/// without waiting; else the tile is filled at once.
template <int D, int Rows, class Row>
__device__ __forceinline__ void fetch(Tile<D, Rows>& tile, int count, int columns, bool groups, Row row_of) {
  constexpr int kPerRow = D / 8;
#pragma unroll
  for (int i = static_cast<int>(threadIdx.x); i < Rows * kPerRow; i += kThreads) {
    const int r = i / kPerRow, c = i % kPerRow * 8;
    bf16* to = tile.element + r * kStride<D> + c;
    if (groups && r < count && c < columns) {
      __pipeline_memcpy_async(to, row_of(r) + c, 16);
    } else {
      float f[8] = {};
      if (r < count && c < columns) load<false>(f, row_of(r) + c, columns - c);
      store<true>(to, f, 8);
    }
  }
}

__device__ __forceinline__ unsigned pack(float low, float high) {
  return static_cast<unsigned>(__bfloat16_as_ushort(__float2bfloat16(low))) |
         static_cast<unsigned>(__bfloat16_as_ushort(__float2bfloat16(high))) << 16;
}

/// The left side of a product: rows [16 warp, +16) and columns [k, k + 16) of a tile.
template <int D, int Rows>
__device__ __forceinline__ void load_left(unsigned (&a)[4], const Tile<D, Rows>& tile, int k) {
  ldmatrix_x4(a, tile.element + (warp() * 16 + lane() % 16) * kStride<D> + k + lane() / 16 * 8);
}

/// s += left rows of the outer tile times the inner tile's rows (both along D).
template <int D, int Inner>
__device__ __forceinline__ void add_dots(float (&s)[Inner / 8][4], const Tile<D, kRows>& outer,
                                         const Tile<D, Inner>& inner) {
  const int row = lane() / 16 * 8 + lane() % 8, column = lane() / 8 % 2 * 8;
#pragma unroll
  for (int k = 0; k < D; k += 16) {
    unsigned a[4];
    load_left(a, outer, k);
#pragma unroll
    for (int n = 0; n < Inner / 16; ++n) {
      unsigned b[4];
      ldmatrix_x4(b, inner.element + (n * 16 + row) * kStride<D> + k + column);
      mma_m16n8k16(s[2 * n], a, b[0], b[1]);
      mma_m16n8k16(s[2 * n + 1], a, b[2], b[3]);
    }
  }
}

/// sum += scores, rounded to bf16, times the inner tile.
template <int D, int Inner>
__device__ __forceinline__ void add_product(float (&sum)[D / 8][4], const float (&s)[Inner / 8][4],
                                            const Tile<D, Inner>& inner) {
#pragma unroll
  for (int k = 0; k < Inner / 16; ++k) {
    const unsigned a[4] = {pack(s[2 * k][0], s[2 * k][1]), pack(s[2 * k][2], s[2 * k][3]),
                           pack(s[2 * k + 1][0], s[2 * k + 1][1]), pack(s[2 * k + 1][2], s[2 * k + 1][3])};
#pragma unroll
    for (int n = 0; n < D / 16; ++n) {
      unsigned b[4];
      ldmatrix_x4_trans(b, inner.element + (k * 16 + lane() % 16) * kStride<D> + n * 16 + lane() / 16 * 8);
      mma_m16n8k16(sum[2 * n], a, b[0], b[1]);
      mma_m16n8k16(sum[2 * n + 1], a, b[2], b[3]);
    }
  }
}

/// The sum or the largest over the four lanes of a row.
template <class Combine>
__device__ __forceinline__ float over_row(float v, Combine combine) {
  v = combine(v, __shfl_xor_sync(kAllLanes, v, 1));
  return combine(v, __shfl_xor_sync(kAllLanes, v, 2));
}

/// to[row][c] = factor[row] * sum for the lane's two rows; row_of(0 or 1): where it goes, null: nowhere.
template <int D, class Row>
__device__ __forceinline__ void store_rows(const float (&sum)[D / 8][4], const float (&factor)[2], int columns,
                                           Row row_of) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    bf16* const to = row_of(i);
    if (!to) continue;
#pragma unroll
    for (int n = 0; n < D / 8; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int c = n * 8 + lane() % 4 * 2 + e;
        if (c < columns) to[c] = __float2bfloat16(factor[i] * sum[n][2 * i + e]);
      }
  }
}

/// Which of four keys from j on, a multiple of 4, a query of head h keeps: bit e of key j + e.
__device__ __forceinline__ unsigned kept_keys(const AttentionSizes& z, int64_t sample, int position, int h, int j) {
  const rng::Block bits =
      rng::quad(z.dropout_key, sample, position, (z.channel0 + (static_cast<int64_t>(h) << 20) + j) / 4);
  unsigned kept = 0;
#pragma unroll
  for (int e = 0; e < 4; ++e) kept |= (bits[static_cast<std::size_t>(e)] >= z.least_kept ? 1u : 0u) << e;
  return kept;
}

/// For scores [queries, keys]: s *= `kept` or 0.  Four neighbouring keys share a block of random numbers, and two
/// lanes share these keys: each draws for one of their two queries (`sample`, `position`: of row l/4 in even lanes, l/4
/// + 8 in odd ones) and tells the other.
template <int Inner>
__device__ __forceinline__ void drop(float (&s)[Inner / 8][4], float kept, const AttentionSizes& z, int64_t sample,
                                     int position, int h, int j) {
  const bool odd = lane() % 2 != 0;
#pragma unroll
  for (int n = 0; n < Inner / 8; ++n) {
    const unsigned mine = kept_keys(z, sample, position, h, j + n * 8 + lane() % 4 / 2 * 4);
    const unsigned other = __shfl_xor_sync(kAllLanes, mine, 1);
    const unsigned bits[2] = {(odd ? other : mine) >> (odd ? 2 : 0), (odd ? mine : other) >> (odd ? 2 : 0)};
#pragma unroll
    for (int e = 0; e < 4; ++e) s[n][e] *= (bits[e / 2] >> (e % 2) & 1) != 0 ? kept : 0.0f;
  }
}

/// The columns that there are kernels for.
template <class Run>
cudaError_t for_head_size(int head_size, Run run) {
  if (head_size <= 32) return run(std::integral_constant<int, 32>{});
  if (head_size <= 64) return run(std::integral_constant<int, 64>{});
  return run(std::integral_constant<int, 128>{});
}

}  // namespace banyan::kernels::cuda::attention::mma
