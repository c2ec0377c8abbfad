// c[M,N] = a[M,K] * b[N,K]^T for few rows M: a linear layer while text is generated.  The time goes into reading b
// once, row by row, so nothing is packed: every element of c is a dot product of two rows.  Its order of summation
// depends on K alone, so that a sequence's numbers depend neither on the others in its batch nor on the threads.
#pragma once

#include <cstdint>

#include "kernels/cpu/check.hpp"
#include "kernels/cpu/narrow.hpp"
#include "kernels/cpu/parallel.hpp"
#include "kernels/cpu/tile_product.hpp"

namespace banyan::kernels::cpu {

inline constexpr std::int64_t kFewRows = 16;  ///< where packing starts to pay

namespace few_rows {

inline constexpr std::int64_t kStrip = 12;  ///< rows of b that stay in the cache while all rows of a meet them

/// Sums of A rows of a by B rows of b, into out[A][B].  Ahead: asks for the rows of the next strip meanwhile; the
/// processor itself looks no further than the end of a page.
template <int A, int B, bool Ahead, class Row>
inline void dots(std::int64_t K, const float* a, std::int64_t a_stride, const Row (&b)[B], const Row (&next)[B],
                 float (&out)[A][B]) {
  tile::Vector sum[A][B];
#pragma GCC unroll 4
  for (int i = 0; i < A; ++i)
#pragma GCC unroll 6
    for (int j = 0; j < B; ++j) sum[i][j] = tile::Vector{};
  std::int64_t k = 0;
  for (; k + tile::kLanes <= K; k += tile::kLanes) {
    tile::Vector left[A];
#pragma GCC unroll 4
    for (int i = 0; i < A; ++i) left[i] = tile::load(a + i * a_stride + k);
#pragma GCC unroll 6
    for (int j = 0; j < B; ++j) {
      const tile::Vector right = b[j].vector(k);
      if (Ahead) __builtin_prefetch(next[j].address(k));
#pragma GCC unroll 4
      for (int i = 0; i < A; ++i) sum[i][j] += left[i] * right;
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < A; ++i)
#pragma GCC unroll 6
    for (int j = 0; j < B; ++j) {
      float s[tile::kLanes];
      tile::store(s, sum[i][j]);
#pragma GCC unroll 4
      for (int half = tile::kLanes / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; ++lane) s[lane] += s[lane + half];
      float total = s[0];
      for (std::int64_t r = k; r < K; ++r) total += a[i * a_stride + r] * b[j].value(r);
      out[i][j] = total;
    }
}

/// Rows [m, m + A) of c, columns [n, n_end).
template <int A, int B, bool Ahead, class Rows, class Store>
void columns(std::int64_t m, std::int64_t n, std::int64_t n_end, std::int64_t K, Matrix<const float> a, const Rows& b,
             const Store& store) {
  using Row = decltype(b.row(0));
  for (; n + B <= n_end; n += B) {
    Row rows[B], next[B];
    for (int j = 0; j < B; ++j) rows[j] = b.row(n + j), next[j] = b.row(n + j + kStrip);
    float out[A][B];
    dots<A, B, Ahead>(K, a.row(m), a.stride, rows, next, out);
    for (int i = 0; i < A; ++i)
      for (int j = 0; j < B; ++j) store(m + i, n + j, out[i][j]);
  }
  for (; n < n_end; ++n) {
    const Row row[1]{b.row(n)};
    float out[A][1];
    dots<A, 1, false>(K, a.row(m), a.stride, row, row, out);
    for (int i = 0; i < A; ++i) store(m + i, n, out[i][0]);
  }
}

}  // namespace few_rows

/// store(m, n, sum) for every element of a * b^T; Rows as in narrow.hpp.
template <class Rows, class Store>
void product_of_few_rows(int threads, Matrix<const float> a, const Rows& b, const Store& store) {
  using few_rows::columns, few_rows::kStrip;
  const std::int64_t M = a.rows, N = b.rows(), K = a.columns;
  parallel_for(threads, (N + kStrip - 1) / kStrip, N * K, [&](std::int64_t s) {
    const std::int64_t n = s * kStrip, n_end = std::min(N, n + kStrip);
    // Up to three rows read b as one stream, in which the processor itself looks ahead.
    if (M == 1) return columns<1, 1, false>(0, n, n_end, K, a, b, store);
    if (M == 2) return columns<2, 1, false>(0, n, n_end, K, a, b, store);
    if (M == 3) return columns<3, 1, false>(0, n, n_end, K, a, b, store);
    columns<4, 3, true>(0, n, n_end, K, a, b, store);
    std::int64_t m = 4;
    for (; m + 4 <= M; m += 4) columns<4, 3, false>(m, n, n_end, K, a, b, store);
    switch (M - m) {
      case 3:
        return columns<3, 4, false>(m, n, n_end, K, a, b, store);
      case 2:
        return columns<2, 6, false>(m, n, n_end, K, a, b, store);
      case 1:
        return columns<1, 6, false>(m, n, n_end, K, a, b, store);
      default:
        return;
    }
  });
}

}  // namespace banyan::kernels::cpu
