// The products of attention in fp32, whatever the elements of its operands are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/cpu/attention_problem.hpp"

namespace banyan::kernels::cpu::attention {

/// Operands are copied into tiles, because rows that lie kilobytes apart (one head of a fused q,k,v matrix) compete for
/// the same few lines of the cache.
template <class T>
class FloatProducts {
 public:
  /// Scores come out multiplied by Attention::scale.
  static constexpr bool kScaled = true;
  /// Distance of the rows of [., D] that are summed here: of ScoreTiles::sum_QD and of the gradients of keys, values.
  static int64_t width(int64_t D) { return D; }

  FloatProducts(const Problem<T>& p, TileMemory memory) : p_(p), D_(p.head_size) {
    const int64_t D = rounded16(D_);
    q_DQ_ = memory.floats(D * Q);
    d_out_DQ_ = memory.floats(D * Q);
    q_QD_ = memory.floats(D * Q);
    d_out_QD_ = memory.floats(D * Q);
    k_KD_ = memory.floats(D * kKeyTile);
    v_KD_ = memory.floats(D * kKeyTile);
  }

  /// Copies the tile's queries, for scores().
  void take_queries(const QueryTile& t) {
    const T* const rows = p_.query.row(p_.q_begin(t.s) + t.first) + t.h * D_;
    if constexpr (std::is_same_v<T, float>) {
      transpose(t, D_, rows, p_.query.stride, p_.a.scale, q_DQ_);
    } else {
      gather(t.n, rows, p_.query.stride, q_QD_);
      transpose(t, D_, q_QD_, D_, p_.a.scale, q_DQ_);
    }
  }
  /// Copies the tile's queries and output gradients, for the backward pass.
  void take_gradients(const QueryTile& t, Matrix<const T> d_out) {
    const int64_t row = p_.q_begin(t.s) + t.first, column = t.h * D_;
    gather(t.n, p_.query.row(row) + column, p_.query.stride, q_QD_);
    gather(t.n, d_out.row(row) + column, d_out.stride, d_out_QD_);
    transpose(t, D_, q_QD_, D_, p_.a.scale, q_DQ_);
    transpose(t, D_, d_out_QD_, D_, 1.0f, d_out_DQ_);
  }
  /// Copies n rows of keys and values of key head kh, from row `row` on; `backward` says which pass they are for.
  void take_keys(int64_t kh, int64_t row, int64_t n, bool /*backward*/) {
    gather(n, p_.key.row(row) + kh * D_, p_.key.stride, k_KD_);
    gather(n, p_.value.row(row) + kh * D_, p_.value.stride, v_KD_);
  }

  /// S^T = K q^T.
  void scores(const Sight& sight, const QueryTile& t, float* p_KQ) {
    score_product(sight, t.padded(), D_, k_KD_, q_DQ_, p_KQ);
  }
  /// dP^T = V dO^T.
  void score_gradients(const Sight& sight, const QueryTile& t, float* d_p_KQ) {
    score_product(sight, t.padded(), D_, v_KD_, d_out_DQ_, d_p_KQ);
  }
  /// O = P V, or added to O.
  template <bool Add>
  void add_values(const Sight& sight, const QueryTile& t, float* p_KQ, float* sum_QD) {
    tile_product<Add>(t.n, D_, Operand{p_KQ, 1, Q}, v_KD_, D_, sum_QD, D_, sight.over_keys());
  }
  /// dV += P^T dO, dK += dS^T Q, dQ += dS K.
  void add_gradients(const Sight& sight, const QueryTile& t, const ScoreTiles& m, float* d_key, int64_t key_stride,
                     float* d_value, int64_t value_stride) {
    const auto queries = sight.over_queries(t.n);
    tile_product<true>(sight.n, D_, Operand{m.p_KQ, Q, 1}, d_out_QD_, D_, d_value, value_stride, queries);
    tile_product<true>(sight.n, D_, Operand{m.d_p_KQ, Q, 1}, q_QD_, D_, d_key, key_stride, queries);
    tile_product<true>(t.n, D_, Operand{m.d_p_KQ, 1, Q}, k_KD_, D_, m.sum_QD, D_, sight.over_keys());
  }

 private:
  /// Rows of one head, one behind the other.
  void gather(int64_t n, const T* rows, int64_t stride, float* out_KD) const {
    for (int64_t k = 0; k < n; ++k) std::copy(rows + k * stride, rows + k * stride + D_, out_KD + k * D_);
  }

  const Problem<T>& p_;
  const int64_t D_;
  float *q_DQ_, *d_out_DQ_;  ///< [D, Q]: queries and output gradients, transposed
  float *q_QD_, *d_out_QD_;  ///< [Q, D]: without gaps between rows
  float *k_KD_, *v_KD_;      ///< [K, D]: keys and values, without gaps
};

}  // namespace banyan::kernels::cpu::attention
