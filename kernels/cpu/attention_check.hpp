// What a call of attention works on, checked; of every backend.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "kernels/backend.hpp"
#include "kernels/cpu/attention_scratch.hpp"
#include "kernels/cpu/check.hpp"

namespace banyan::kernels::cpu::attention {

using std::int64_t;

/// What one call works on, checked.  T: elements of queries, keys and values.
template <class T>
struct Problem {
  const Attention& a;
  Matrix<const T> query, key, value;
  int64_t sequences, head_size, group;

  int64_t q_begin(int64_t s) const { return a.q_offsets[static_cast<std::size_t>(s)]; }
  int64_t q_count(int64_t s) const { return a.q_offsets[static_cast<std::size_t>(s) + 1] - q_begin(s); }
  int64_t position(int64_t s) const { return a.q_position[static_cast<std::size_t>(s)]; }
  int64_t k_count(int64_t s) const {
    return a.kv_offsets[static_cast<std::size_t>(s) + 1] - a.kv_offsets[static_cast<std::size_t>(s)];
  }
  /// Keys that the queries before `end` of the sequence may see.
  int64_t keys_seen(int64_t s, int64_t end) const { return std::min(k_count(s), position(s) + end); }
  bool blocked() const { return !a.blocks.table.empty(); }
  /// Row of key j in `key` and `value`.
  int64_t k_row(int64_t s, int64_t j) const {
    if (!blocked()) return a.kv_offsets[static_cast<std::size_t>(s)] + j;
    const int64_t size = a.blocks.block_size;
    return a.blocks.table[static_cast<std::size_t>(s * a.blocks.blocks_per_sequence + j / size)] * size + j % size;
  }
  /// Keys from j on, below `end`, that lie one behind the other and fit in a tile.
  int64_t run(int64_t j, int64_t end) const {
    const int64_t n = std::min(kKeyTile, end - j);
    return blocked() ? std::min<int64_t>(n, a.blocks.block_size - j % a.blocks.block_size) : n;
  }
};

template <class Check>
void check_offsets(const Check& check, std::span<const std::int32_t> offsets, std::size_t sequences, const char* name) {
  check.that(offsets.size() == sequences + 1, name, "has not one more entry than there are sequences");
  check.that(offsets[0] >= 0, name, "starts below zero");
  for (std::size_t s = 0; s < sequences; ++s) check.that(offsets[s] <= offsets[s + 1], name, "decreases");
}

/// Check: cpu::Check, or what has its functions for memory of another kind.
template <class T, class Check>
Problem<T> checked(const Check& check, ConstView query, ConstView key, ConstView value, const Attention& a,
                   int64_t rows) {
  check.that(a.heads > 0 && a.kv_heads > 0 && a.heads % a.kv_heads == 0, "heads", "is no multiple of kv_heads");
  check.that(a.head_size > 0, "head_size", "must be positive");
  const int64_t D = a.head_size;
  check.that(!a.q_offsets.empty(), "q_offsets", "is empty");
  const std::size_t sequences = a.q_offsets.size() - 1;
  check_offsets(check, a.q_offsets, sequences, "q_offsets");
  check_offsets(check, a.kv_offsets, sequences, "kv_offsets");
  check.that(a.q_position.size() == sequences, "q_position", "has not one entry per sequence");
  check.that(a.q_offsets.back() <= rows, "q_offsets", "goes past the last query row");
  for (const std::int32_t p : a.q_position) check.that(p >= 0, "q_position", "holds a negative position");
  const Problem<T> p{a,
                     check.template strided<T>("query", query, rows, a.heads * D),
                     check.template strided<T>("key", key, key.shape[0], a.kv_heads * D),
                     check.template strided<T>("value", value, key.shape[0], a.kv_heads * D),
                     static_cast<int64_t>(sequences),
                     D,
                     a.heads / a.kv_heads};
  if (p.blocked()) {
    check.that(a.blocks.block_size > 0, "block_size", "must be positive");
    check.that(a.blocks.table.size() >= sequences * static_cast<std::size_t>(a.blocks.blocks_per_sequence),
               "blocks.table", "has too few entries");
    for (int64_t s = 0; s < p.sequences; ++s) {
      const int64_t used = (p.k_count(s) + a.blocks.block_size - 1) / a.blocks.block_size;
      check.that(used <= a.blocks.blocks_per_sequence, "kv_offsets", "has more keys than a sequence has blocks for");
      for (int64_t b = 0; b < used; ++b) {
        const int64_t block = a.blocks.table[static_cast<std::size_t>(s * a.blocks.blocks_per_sequence + b)];
        check.that(block >= 0 && (block + 1) * a.blocks.block_size <= p.key.rows, "blocks.table",
                   "names a block outside key");
      }
    }
  } else {
    check.that(a.kv_offsets.back() <= p.key.rows, "kv_offsets", "goes past the last key row");
  }
  if (a.dropout.p != 0) {
    check.that(a.dropout.p > 0 && a.dropout.p < 1, "dropout.p", "must be in [0, 1)");
    const auto n = static_cast<std::size_t>(rows);
    check.that(a.dropout.sample.size() == n && a.dropout.position.size() == n, "dropout",
               "has not one sample and position per query row");
  }
  return p;
}

}  // namespace banyan::kernels::cpu::attention
