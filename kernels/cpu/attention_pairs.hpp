// The products of attention in bf16 with sums in fp32, two products of a pair in one instruction (AVX512-BF16's
// VDPBF16PS).  Probabilities and the gradients of scores are rounded to bf16 on their way into a product, as they are
// on GPUs; what softmax does stays fp32.
#pragma once

#include "kernels/cpu/isa.hpp"

#if defined(__AVX512BF16__)
#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/attention_problem.hpp"
#include "src/base/bf16.hpp"

namespace banyan::kernels::cpu::attention {

/// As FloatProducts; rows are padded to whole vectors.
class PairProducts {
  using Words = std::uint32_t __attribute__((vector_size(64)));
  static Words widened(__m256i halves) {
    using Halves = std::uint16_t __attribute__((vector_size(32)));
    return __builtin_convertvector((Halves)halves, Words);
  }
  /// Elements of the depth as pairs; what a pair holds beside them is zero on one side of the product.
  template <class Used>
  static auto halved(Used used) {
    return [used](int64_t r, int64_t r_end, int64_t n, int64_t n_end) {
      const Range range = used(r, r_end, n, n_end);
      return Range{range.begin / 2, (range.end + 1) / 2};
    };
  }

 public:
  static constexpr bool kScaled = false;
  static int64_t width(int64_t D) { return rounded16(D); }

  PairProducts(const Problem<BF16>& p, TileMemory memory) : p_(p), D_(p.head_size), W_(rounded16(D_)) {
    const auto pairs = [&memory](int64_t n) { return reinterpret_cast<Bf16Pair*>(memory.floats(n)); };
    q_DQ_ = pairs(W_ / 2 * Q);
    d_out_DQ_ = pairs(W_ / 2 * Q);
    q_QD_ = pairs(Q / 2 * W_);
    d_out_QD_ = pairs(Q / 2 * W_);
    k_KD_ = pairs(kKeyTile * W_ / 2);
    v_KD_ = pairs(kKeyTile * W_ / 2);
    k_pairs_ = pairs(kKeyTile / 2 * W_);
    v_pairs_ = pairs(kKeyTile / 2 * W_);
    p_pairs_ = pairs(kKeyTile / 2 * Q);
  }

  void take_queries(const QueryTile& t) {
    // Where they will lie as pairs of queries there is room for their rows first.
    gather(t.n, p_.query.row(p_.q_begin(t.s) + t.first) + t.h * D_, p_.query.stride, q_QD_);
    transpose(t, W_ / 2, q_QD_, W_ / 2, 1.0f, q_DQ_);
  }
  void take_gradients(const QueryTile& t, Matrix<const BF16> d_out) {
    take_queries(t);
    const int64_t row = p_.q_begin(t.s) + t.first, column = t.h * D_;
    gather(t.n, d_out.row(row) + column, d_out.stride, d_out_QD_);
    transpose(t, W_ / 2, d_out_QD_, W_ / 2, 1.0f, d_out_DQ_);
    join_rows(t.n, p_.query.row(row) + column, p_.query.stride, q_QD_);
    join_rows(t.n, d_out.row(row) + column, d_out.stride, d_out_QD_);
  }
  void take_keys(int64_t kh, int64_t row, int64_t n, bool backward) {
    const BF16 *const keys = p_.key.row(row) + kh * D_, *const values = p_.value.row(row) + kh * D_;
    gather(n, keys, p_.key.stride, k_KD_);
    if (backward) {
      gather(n, values, p_.value.stride, v_KD_);
      join_rows(n, keys, p_.key.stride, k_pairs_);
    } else {
      join_rows(n, values, p_.value.stride, v_pairs_);
    }
  }

  void scores(const Sight& sight, const QueryTile& t, float* p_KQ) {
    score_product(sight, t.padded(), W_ / 2, k_KD_, q_DQ_, p_KQ);
  }
  void score_gradients(const Sight& sight, const QueryTile& t, float* d_p_KQ) {
    score_product(sight, t.padded(), W_ / 2, v_KD_, d_out_DQ_, d_p_KQ);
  }
  template <bool Add>
  void add_values(const Sight& sight, const QueryTile& t, float* p_KQ, float* sum_QD) {
    for (int64_t k = 0; k < sight.n; k += 2)
      for (int64_t i = 0; i < t.padded(); i += 16)
        tile::store(p_pairs_ + k / 2 * Q + i, joined(p_KQ + k * Q + i, k + 1 < sight.n));
    tile_product<Add>(t.n, W_, OperandOf<Bf16Pair>{p_pairs_, 1, Q}, v_pairs_, W_, sum_QD, W_,
                      halved(sight.over_keys()));
  }
  void add_gradients(const Sight& sight, const QueryTile& t, const ScoreTiles& m, float* d_key, int64_t key_stride,
                     float* d_value, int64_t value_stride) {
    // Along the queries pairs are neighbours: rows are rounded where they lie.
    for (int64_t k = 0; k < sight.n; k += 2) {
      for (int64_t i = 0; i < t.padded(); i += 16)
        tile::store(p_pairs_ + k / 2 * Q + i, joined(m.d_p_KQ + k * Q + i, k + 1 < sight.n));
      for (int64_t row = k; row < std::min(k + 2, sight.n); ++row) {
        round_row(t.padded(), m.p_KQ + row * Q);
        round_row(t.padded(), m.d_p_KQ + row * Q);
      }
    }
    const auto queries = halved(sight.over_queries(t.n));
    tile_product<true>(sight.n, W_, rounded(m.p_KQ), d_out_QD_, W_, d_value, value_stride, queries);
    tile_product<true>(sight.n, W_, rounded(m.d_p_KQ), q_QD_, W_, d_key, key_stride, queries);
    tile_product<true>(t.n, W_, OperandOf<Bf16Pair>{p_pairs_, 1, Q}, k_pairs_, W_, m.sum_QD, W_,
                       halved(sight.over_keys()));
  }

 private:
  static OperandOf<Bf16Pair> rounded(const float* rows_KQ) {
    return {reinterpret_cast<const Bf16Pair*>(rows_KQ), Q, 1};
  }

  /// Rows of one head one behind the other, as pairs of channels, padded with zeros.
  void gather(int64_t n, const BF16* rows, int64_t stride, Bf16Pair* out) const {
    for (int64_t k = 0; k < n; ++k) {
      auto* const to = reinterpret_cast<std::byte*>(out + k * (W_ / 2));
      std::memcpy(to, rows + k * stride, static_cast<std::size_t>(2 * D_));
      std::memset(to + 2 * D_, 0, static_cast<std::size_t>(2 * (W_ - D_)));
    }
  }
  /// out[k / 2][d] = the pair (rows[k][d], rows[k + 1][d]), zero where there is no such row or channel.
  void join_rows(int64_t n, const BF16* rows, int64_t stride, Bf16Pair* out) const {
    for (int64_t k = 0; k < n; k += 2)
      for (int64_t d = 0; d < W_; d += 16) {
        const auto there = static_cast<__mmask16>((1u << std::min<int64_t>(16, std::max<int64_t>(0, D_ - d))) - 1);
        const BF16* const first = rows + k * stride + d;
        const auto words = [there](const BF16* from) { return widened(_mm256_maskz_loadu_epi16(there, from)); };
        const Words low = words(first), high = k + 1 < n ? words(first + stride) : Words{};
        tile::store(out + k / 2 * W_ + d, low | high << 16);
      }
  }
  /// Sixteen pairs of a row of fp32 and the one below it (zero if there is none), rounded.
  static Words joined(const float* row, bool both) {
    const Words low = widened((__m256i)_mm512_cvtneps_pbh(tile::load(row)));
    return both ? low | widened((__m256i)_mm512_cvtneps_pbh(tile::load(row + Q))) << 16 : low;
  }
  /// The n floats (a multiple of 16) of a row become bf16 in its first half.
  static void round_row(int64_t n, float* row) {
    for (int64_t i = 0; i < n; i += 16) {
      const __m256bh narrow = _mm512_cvtneps_pbh(tile::load(row + i));
      std::memcpy(reinterpret_cast<std::byte*>(row) + 2 * i, &narrow, sizeof narrow);
    }
  }

  const Problem<BF16>& p_;
  const int64_t D_, W_;           ///< head size; rounded up
  Bf16Pair *q_DQ_, *d_out_DQ_;    ///< [W/2, Q]: of channels
  Bf16Pair *q_QD_, *d_out_QD_;    ///< [Q/2, W]: of queries
  Bf16Pair *k_KD_, *v_KD_;        ///< [K, W/2]: of channels
  Bf16Pair *k_pairs_, *v_pairs_;  ///< [K/2, W]: of keys
  Bf16Pair* p_pairs_;             ///< [K/2, Q]: probabilities, or gradients of scores, of keys
};

}  // namespace banyan::kernels::cpu::attention
#endif
