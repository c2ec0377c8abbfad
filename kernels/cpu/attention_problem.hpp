// A tile of queries, and which of a tile's keys they see.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/attention_check.hpp"
#include "kernels/cpu/tile_product.hpp"

namespace banyan::kernels::cpu::attention {

inline constexpr int64_t kLanes = tile::kLanes;

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

}  // namespace banyan::kernels::cpu::attention
