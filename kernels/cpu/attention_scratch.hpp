// Tile sizes of attention and the memory a thread needs for them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "src/base/dtype.hpp"

namespace banyan::kernels::cpu {

inline constexpr std::int64_t kQueryTile = 128;  ///< queries of one head that are computed together
inline constexpr std::int64_t kKeyTile = 96;     ///< keys that they meet at a time

/// Tiles of one thread.  Operands are copied into them, because rows that lie kilobytes apart (one head of a fused
/// q,k,v matrix) compete for the same few lines of the cache.
struct AttentionTiles {
  float *q_DQ, *d_out_DQ;  ///< [D, Q]: queries and output gradients, transposed
  float *k_KD, *v_KD;      ///< [K, D]: keys and values, without the gaps between their rows
  float *q_QD, *d_out_QD;  ///< [Q, D]: queries and output gradients, without gaps
  float *p_KQ, *d_p_KQ;    ///< [K, Q]: scores, probabilities; their gradient
  float* mask_KQ;          ///< [K, Q]: dropout factors
  float* sum_QD;           ///< [Q, D]: output, or gradient of the queries, before it is stored
  float *max_Q, *total_Q, *factor_Q;
};

constexpr std::int64_t rounded16(std::int64_t n) { return (n + 15) / 16 * 16; }

constexpr std::size_t attention_scratch_floats(int head_size) {
  const std::int64_t D = rounded16(head_size);
  return static_cast<std::size_t>(5 * D * kQueryTile + 2 * D * kKeyTile + 3 * kKeyTile * kQueryTile + 3 * kQueryTile);
}

/// What a thread needs beside its tiles for the backward pass: fp32 sums of the gradients of one head's keys and
/// values, where the gradients themselves are narrower.
constexpr std::size_t attention_sum_floats(DType dtype, int head_size, std::int64_t keys) {
  return dtype == DType::kF32 ? 0 : static_cast<std::size_t>(2 * keys * head_size + 15) / 16 * 16;
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

inline AttentionTiles attention_tiles(float* memory, int head_size, int thread) {
  const std::int64_t D = rounded16(head_size);
  float* p = memory + attention_scratch_floats(head_size) * static_cast<std::size_t>(thread);
  const auto take = [&p](std::int64_t n) {
    float* begin = p;
    p += n;
    return begin;
  };
  AttentionTiles t;
  t.q_DQ = take(D * kQueryTile);
  t.d_out_DQ = take(D * kQueryTile);
  t.k_KD = take(D * kKeyTile);
  t.v_KD = take(D * kKeyTile);
  t.q_QD = take(D * kQueryTile);
  t.d_out_QD = take(D * kQueryTile);
  t.sum_QD = take(D * kQueryTile);
  t.p_KQ = take(kKeyTile * kQueryTile);
  t.d_p_KQ = take(kKeyTile * kQueryTile);
  t.mask_KQ = take(kKeyTile * kQueryTile);
  t.max_Q = take(kQueryTile);
  t.total_Q = take(kQueryTile);
  t.factor_Q = take(kQueryTile);
  return t;
}

}  // namespace banyan::kernels::cpu
