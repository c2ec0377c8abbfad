// Tile sizes of attention and the memory a thread needs for them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "src/base/dtype.hpp"

namespace banyan::kernels::cpu {

inline constexpr std::int64_t kQueryTile = 128;  ///< queries of one head that are computed together
inline constexpr std::int64_t kKeyTile = 96;     ///< keys that they meet at a time

constexpr std::int64_t rounded16(std::int64_t n) { return (n + 15) / 16 * 16; }

/// Tiles of one thread that are fp32 whatever the operands are.
struct ScoreTiles {
  float *p_KQ, *d_p_KQ;  ///< [K, Q]: scores, probabilities; their gradient
  float* mask_KQ;        ///< [K, Q]: dropout factors
  float* sum_QD;         ///< [Q, D]: output, or gradient of the queries, before it is stored
  float *max_Q, *total_Q, *factor_Q;
};

/// Floats for the tiles of one thread: those above, and the copies of operands in FloatProducts or in PairProducts,
/// whichever are more, because only the processor decides between them.
constexpr std::size_t attention_scratch_floats(int head_size) {
  const std::int64_t D = rounded16(head_size), K = kKeyTile, Q = kQueryTile;
  return static_cast<std::size_t>(3 * K * Q + D * Q + 3 * Q +
                                  std::max(4 * D * Q + 2 * D * K, 2 * D * Q + 2 * D * K + K * Q / 2));
}

/// Hands out the memory of a thread's tiles.
class TileMemory {
 public:
  TileMemory(float* memory, int head_size, int thread)
      : next_(memory + attention_scratch_floats(head_size) * static_cast<std::size_t>(thread)) {}
  float* floats(std::int64_t n) { return std::exchange(next_, next_ + n); }
  ScoreTiles score_tiles(int head_size) {
    ScoreTiles t;
    t.p_KQ = floats(kKeyTile * kQueryTile);
    t.d_p_KQ = floats(kKeyTile * kQueryTile);
    t.mask_KQ = floats(kKeyTile * kQueryTile);
    t.sum_QD = floats(kQueryTile * rounded16(head_size));
    t.max_Q = floats(kQueryTile);
    t.total_Q = floats(kQueryTile);
    t.factor_Q = floats(kQueryTile);
    return t;
  }

 private:
  float* next_;
};

/// What a thread needs beside its tiles for the backward pass: fp32 sums of the gradients of one head's keys and
/// values, where the gradients themselves are narrower.
constexpr std::size_t attention_sum_floats(DType dtype, int head_size, std::int64_t keys) {
  return dtype == DType::kF32 ? 0 : static_cast<std::size_t>(2 * keys * rounded16(head_size));
}

/// Keys in a part of a sequence with a single query (attention_query.hpp): what a sequence's numbers are depends on its
/// own length alone.
constexpr std::int64_t part_keys(std::int64_t keys) {
  constexpr std::int64_t least = 32, most_parts = 32;
  return std::max(least, rounded16((keys + most_parts - 1) / most_parts));
}

/// Memory of these parts: what they leave for the end, and what a thread needs meanwhile.
class QueryParts {
 public:
  QueryParts(std::int64_t heads, std::int64_t head_size) : heads_(heads), D_(head_size) {}
  /// Of a call with so many sequences, there is one that has a single query and sees so many keys.
  void take(std::int64_t sequences, std::int64_t keys) {
    sequences_ = sequences;
    most_parts_ = std::max(most_parts_, (keys + part_keys(keys) - 1) / part_keys(keys));
    most_keys_ = std::max(most_keys_, part_keys(keys));
  }

  bool any() const { return sequences_ > 0; }
  std::int64_t most_parts() const { return most_parts_; }
  std::int64_t most_keys() const { return most_keys_; }
  std::size_t floats(int threads) const {
    return any() ? static_cast<std::size_t>(sequences_ * most_parts_ * left_floats() + threads * own_floats()) : 0;
  }

  /// What a part of a sequence leaves: [heads] maxima, [heads] sums of exponentials, [heads, D] weighted values.
  float* left(float* memory, std::int64_t s, std::int64_t part) const {
    return memory + (s * most_parts_ + part) * left_floats();
  }
  /// A thread's own: [heads, D] scaled queries, [heads, most_keys] scores, [most_keys] dropout factors.
  float* own(float* memory, int thread) const {
    return memory + sequences_ * most_parts_ * left_floats() + thread * own_floats();
  }

 private:
  std::int64_t left_floats() const { return rounded16(heads_ * (2 + D_)); }
  std::int64_t own_floats() const { return rounded16(heads_ * D_ + (heads_ + 1) * most_keys_); }

  std::int64_t heads_, D_, sequences_ = 0, most_parts_ = 0, most_keys_ = 0;
};

}  // namespace banyan::kernels::cpu
