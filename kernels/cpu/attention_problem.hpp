// A tile of queries, which of a tile's keys they see, and what both kinds of products (attention_products.hpp,
// attention_pairs.hpp) do with rows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/cpu/attention_check.hpp"
#include "kernels/cpu/tile_product.hpp"

namespace banyan::kernels::cpu::attention {

inline constexpr int64_t kLanes = tile::kLanes;
inline constexpr int64_t Q = kQueryTile;

/// The queries [first, first + n) of head h of sequence s.
struct QueryTile {
  int64_t s, h, first, n;
  int64_t padded() const { return (n + kLanes - 1) / kLanes * kLanes; }  ///< columns that are computed
};

/// Which of the keys [j, j + n) the queries of a tile see: a rectangle, or one with a corner cut off by causality.
struct Sight {
  int64_t j, n, position;  ///< position of the tile's first query

  /// Keys that any of the queries before i_end sees.
  int64_t keys(int64_t i_end) const { return std::clamp<int64_t>(position + i_end - j, 0, n); }
  /// The first query that sees key j + k.
  int64_t first_query(int64_t k) const { return std::max<int64_t>(0, j + k - position); }

  /// Whether all queries see all keys.
  bool whole() const { return first_query(n - 1) == 0; }

  // What the blocks of the products need.
  auto for_scores(int64_t D) const {  // [keys, queries], over channels
    return [*this, D](int64_t k, int64_t, int64_t, int64_t i_end) { return Range{0, k < keys(i_end) ? D : 0}; };
  }
  auto over_keys() const {  // [queries, channels], over keys
    return [*this](int64_t, int64_t i_end, int64_t, int64_t) { return Range{0, keys(i_end)}; };
  }
  auto over_queries(int64_t queries) const {  // [keys, channels], over queries
    return [*this, queries](int64_t k, int64_t, int64_t, int64_t) { return Range{first_query(k), queries}; };
  }
};

/// Asks for the rows of one head that will be copied next.
template <class T>
void prefetch(int64_t n, int64_t D, const T* rows, int64_t stride) {
  for (int64_t k = 0; k < n; ++k)
    for (int64_t d = 0; d < D; d += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(rows + k * stride + d);
}

/// out_DQ[d][i] = factor * rows[i][d] for the tile's queries, zero for its padding.
template <class E>
void transpose(const QueryTile& t, int64_t D, const E* rows, int64_t stride, float factor, E* out_DQ) {
  for (int64_t i = 0; i < t.padded(); i += 8) {
    int64_t d = 0;
    if (i + 8 <= t.n)
      for (; d + 8 <= D; d += 8) tile::transpose8(rows + i * stride + d, stride, factor, out_DQ + d * Q + i, Q);
    for (; d < D; ++d)
      for (int64_t k = i; k < i + 8; ++k) {
        E& to = out_DQ[d * Q + k];
        if (k >= t.n)
          to = E{};
        else if constexpr (std::is_same_v<E, float>)
          to = factor * rows[k * stride + d];
        else
          to = rows[k * stride + d];
      }
  }
}

/// scores_KQ = rows_KD channels_DQ over `depth` elements.  Narrow blocks where there is much to leave out.
template <class E>
void score_product(const Sight& sight, int64_t padded, int64_t depth, const E* rows_KD, const E* channels_DQ,
                   float* scores_KQ) {
  const OperandOf<E> rows{rows_KD, depth, 1};
  if (sight.whole())
    tile_product<false>(sight.n, padded, rows, channels_DQ, Q, scores_KQ, Q, sight.for_scores(depth));
  else
    tile_product<false, 2>(sight.n, padded, rows, channels_DQ, Q, scores_KQ, Q, sight.for_scores(depth));
}

}  // namespace banyan::kernels::cpu::attention
