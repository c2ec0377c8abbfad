// Causal grouped-query attention in tiles, after FlashAttention (T. Dao et al., NeurIPS'22, algorithms 1 and 4): a tile
// of queries meets one tile of keys after the other, with a running maximum and sum, so that no T x T matrix exists.
//
// All tiles of scores are kept transposed, [keys, queries]: maxima and sums over keys then run over whole vectors of
// queries, and each of the five products finds its operands where they lie (see tile_product.hpp):
//   S^T = K q^T          dP^T = V dO^T           only q^T and dO^T are copies, once per tile of queries
//   O += P V             dQ += dS K              left operand read across the rows of P^T, dS^T
//   dV += P^T dO         dK += dS^T Q
// The products themselves are one of two kinds: in fp32, or of bf16 where operands are and the processor does that.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/cpu/attention_pairs.hpp"
#include "kernels/cpu/attention_problem.hpp"
#include "kernels/cpu/attention_products.hpp"
#include "kernels/cpu/attention_query.hpp"
#include "kernels/cpu/attention_scratch.hpp"
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/cpu_backend.hpp"
#include "kernels/cpu/dropout_mask.hpp"
#include "kernels/cpu/parallel.hpp"
#include "kernels/cpu/simd_math.hpp"
#include "kernels/cpu/tile_product.hpp"

namespace banyan::kernels::cpu {
namespace {

using namespace attention;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
/// Prepares row k of the scores for a loop over whole vectors that starts at the returned query: what lies before that
/// becomes zero, unseen scores behind it become -infinity.
int64_t mask_row(const Sight& sight, int64_t k, int64_t padded, float* row_Q) {
  const int64_t first = std::min(padded, sight.first_query(k)), begin = first / kLanes * kLanes;
  std::fill(row_Q, row_Q + begin, 0.0f);
  std::fill(row_Q + begin, row_Q + first, -kInfinity);
  return begin;
}

/// mask_KQ[k][i] = dropout factor of query i and key j + k.
template <class T>
void make_dropout(const Problem<T>& p, const DropoutMask& mask, const QueryTile& t, int64_t j, int64_t n,
                  float* mask_KQ) {
  alignas(64) float factors[kKeyTile];
  for (int64_t i = 0; i < t.n; ++i) {
    mask.row(p.q_begin(t.s) + t.first + i, (t.h << 20) + j, n, factors);
    for (int64_t k = 0; k < n; ++k) mask_KQ[k * Q + i] = factors[k];
  }
  for (int64_t k = 0; k < n; ++k) std::fill(mask_KQ + k * Q + t.n, mask_KQ + k * Q + t.padded(), 0.0f);
}

/// Keys and values from j on, which the tile meets after those it works on now.
template <class T>
void prefetch_next(const Problem<T>& p, const QueryTile& t, int64_t j, int64_t end) {
  if (j >= end) return;
  const int64_t n = p.run(j, end), row = p.k_row(t.s, j), column = t.h / p.group * p.head_size;
  prefetch(n, p.head_size, p.key.row(row) + column, p.key.stride);
  prefetch(n, p.head_size, p.value.row(row) + column, p.value.stride);
}

/// How T is multiplied.
template <class T>
struct ProductsOf {
  using Type = FloatProducts<T>;
};
#if defined(__AVX512BF16__)
template <>
struct ProductsOf<BF16> {
  using Type = PairProducts;
};
#endif
template <class T>
using Products = typename ProductsOf<T>::Type;

template <class T>
void forward_tile(const Problem<T>& p, const QueryTile& t, TileMemory memory, Matrix<T> out, float* lse_R) {
  const int64_t D = p.head_size, W = Products<T>::width(D), padded = t.padded(), kh = t.h / p.group;
  const ScoreTiles m = memory.score_tiles(p.a.head_size);
  Products<T> products(p, memory);
  const int64_t row0 = p.q_begin(t.s) + t.first;
  const DropoutMask mask(p.a.dropout);
  // What is rounded should be the probability itself, so that its largest, 1, stays exact.
  const float dropped_scale = Products<T>::kScaled ? 1.0f : 1.0f - p.a.dropout.p;
  const int64_t end = p.keys_seen(t.s, t.first + t.n);
  prefetch_next(p, t, 0, end);
  products.take_queries(t);
  std::fill(m.max_Q, m.max_Q + Q, -kInfinity);
  std::fill(m.total_Q, m.total_Q + Q, 0.0f);
  for (int64_t j = 0, n = 0; j < end; j += n) {
    n = p.run(j, end);
    const Sight sight{j, n, p.position(t.s) + t.first};
    products.take_keys(kh, p.k_row(t.s, j), n, false);
    prefetch_next(p, t, j + n, end);
    products.scores(sight, t, m.p_KQ);
    // New maxima; what was summed under the old ones shrinks by `factor`.
    float* const factor = m.factor_Q;
    std::copy(m.max_Q, m.max_Q + padded, factor);
    for (int64_t k = 0; k < n; ++k) {
      float* const score = m.p_KQ + k * Q;
      const int64_t begin = mask_row(sight, k, padded, score);
#pragma omp simd
      for (int64_t i = begin; i < padded; ++i) {
        if constexpr (!Products<T>::kScaled) score[i] *= p.a.scale;
        m.max_Q[i] = m.max_Q[i] < score[i] ? score[i] : m.max_Q[i];
      }
    }
#pragma omp simd
    for (int64_t i = 0; i < padded; ++i) {
      factor[i] = exp_simd(factor[i] - m.max_Q[i]);
      m.total_Q[i] *= factor[i];
    }
    for (int64_t k = 0; k < n; ++k) {
      float* const prob = m.p_KQ + k * Q;
#pragma omp simd
      for (int64_t i = std::min(padded, sight.first_query(k)) / kLanes * kLanes; i < padded; ++i) {
        const float e = exp_simd(prob[i] - m.max_Q[i]);
        m.total_Q[i] += e;
        prob[i] = e;
      }
    }
    if (p.a.dropout.p > 0) {
      make_dropout(p, mask, t, j, n, m.mask_KQ);
      for (int64_t k = 0; k < n; ++k)
#pragma omp simd
        for (int64_t i = 0; i < padded; ++i) m.p_KQ[k * Q + i] *= m.mask_KQ[k * Q + i] * dropped_scale;
    }
    if (j == 0) {
      products.template add_values<false>(sight, t, m.p_KQ, m.sum_QD);
    } else {
      for (int64_t i = 0; i < t.n; ++i)
        if (factor[i] != 1.0f)
#pragma omp simd
          for (int64_t d = 0; d < D; ++d) m.sum_QD[i * W + d] *= factor[i];
      products.template add_values<true>(sight, t, m.p_KQ, m.sum_QD);
    }
  }
  for (int64_t i = 0; i < t.n; ++i) {
    T* to = out.row(row0 + i) + t.h * D;
    if (end <= 0) {  // a sequence without keys
      std::fill(to, to + D, 0.0f);
      lse_R[row0 + i] = -kInfinity;
      continue;
    }
    const float inverse = 1.0f / (dropped_scale * m.total_Q[i]);
    for (int64_t d = 0; d < D; ++d) to[d] = m.sum_QD[i * W + d] * inverse;
    lse_R[row0 + i] = m.max_Q[i] + std::log(m.total_Q[i]);
  }
}

/// Where gradients go.  Those of keys and values are sums over queries, which only fp32 may hold: row k of a sequence
/// lies at key + k * key_stride.
template <class T>
struct Gradients {
  Matrix<T> query;
  float *key, *value;
  int64_t key_stride, value_stride;
};

template <class T>
void backward_tile(const Problem<T>& p, const QueryTile& t, TileMemory memory, const Gradients<T>& d,
                   Matrix<const T> d_out, Matrix<const T> out, const float* lse_R) {
  const int64_t D = p.head_size, W = Products<T>::width(D), padded = t.padded(), kh = t.h / p.group;
  const int64_t row0 = p.q_begin(t.s) + t.first, end = p.keys_seen(t.s, t.first + t.n);
  const ScoreTiles m = memory.score_tiles(p.a.head_size);
  Products<T> products(p, memory);
  const DropoutMask mask(p.a.dropout);
  prefetch_next(p, t, 0, end);
  products.take_gradients(t, d_out);
  float *const lse = m.max_Q, *const delta = m.total_Q;
  for (int64_t i = 0; i < padded; ++i) {  // delta = sum over d of d_out * out = sum over keys of p * d_p
    lse[i] = kInfinity;                   // padding gets probability zero
    delta[i] = 0;
    if (i >= t.n) continue;
    const T *const o = out.row(row0 + i) + t.h * D, *const g = d_out.row(row0 + i) + t.h * D;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < D; ++c) sum += static_cast<float>(g[c]) * static_cast<float>(o[c]);
    lse[i] = lse_R[row0 + i];
    delta[i] = sum;
  }
  std::fill(m.sum_QD, m.sum_QD + t.n * W, 0.0f);
  for (int64_t j = 0, n = 0; j < end; j += n) {
    n = p.run(j, end);
    const Sight sight{j, n, p.position(t.s) + t.first};
    products.take_keys(kh, p.k_row(t.s, j), n, true);
    prefetch_next(p, t, j + n, end);
    float *const d_key = d.key + j * d.key_stride, *const d_value = d.value + j * d.value_stride;
    prefetch(n, D, d_key, d.key_stride);
    prefetch(n, D, d_value, d.value_stride);
    products.scores(sight, t, m.p_KQ);
    products.score_gradients(sight, t, m.d_p_KQ);
    const bool drops = p.a.dropout.p > 0;
    if (drops) make_dropout(p, mask, t, j, n, m.mask_KQ);
    const float scale = p.a.scale, unscaled = Products<T>::kScaled ? 1.0f : scale;
    for (int64_t k = 0; k < n; ++k) {
      float *const prob = m.p_KQ + k * Q, *const grad = m.d_p_KQ + k * Q;
      const float* const factor = m.mask_KQ + k * Q;
      const int64_t begin = mask_row(sight, k, padded, prob);
      std::fill(grad, grad + begin, 0.0f);
      if (drops) {
#pragma omp simd
        for (int64_t i = begin; i < padded; ++i) {
          const float e = exp_simd(prob[i] * unscaled - lse[i]);
          grad[i] = e * (grad[i] * factor[i] - delta[i]) * scale;
          prob[i] = e * factor[i];
        }
      } else {
#pragma omp simd
        for (int64_t i = begin; i < padded; ++i) {
          const float e = exp_simd(prob[i] * unscaled - lse[i]);
          grad[i] = e * (grad[i] - delta[i]) * scale;
          prob[i] = e;
        }
      }
    }
    products.add_gradients(sight, t, m, d_key, d.key_stride, d_value, d.value_stride);
  }
  for (int64_t i = 0; i < t.n; ++i) std::copy(m.sum_QD + i * W, m.sum_QD + i * W + D, d.query.row(row0 + i) + t.h * D);
}

int64_t tiles_of(int64_t queries) { return (queries + Q - 1) / Q; }

/// Multiply-adds of a call, for the decision whether threads are worth it.
template <class T>
int64_t work_of(const Problem<T>& p) {
  int64_t work = 0;
  for (int64_t s = 0; s < p.sequences; ++s) work += p.q_count(s) * p.k_count(s) * p.a.heads * p.head_size;
  return work;
}

}  // namespace

void CpuBackend::attention_forward(Queue, View out_RHD, View lse_HR, ConstView query, ConstView key, ConstView value,
                                   const Attention& a) {
  constexpr Check check("attention_forward");
  check.by_element("out", out_RHD, [&]<class T>(T) {
    const int64_t rows = out_RHD.shape[0];
    const auto out = check.matrix<T>("out", out_RHD, rows, int64_t{a.heads} * a.head_size);
    float* lse = check.flat("lse", lse_HR, a.heads * rows);
    const Problem<T> p = checked<T>(check, query, key, value, a, rows);
    const QueryParts parts = query_parts(p);
    const std::size_t tiled = attention_scratch_floats(a.head_size) * static_cast<std::size_t>(threads_);
    float* const memory = attention_scratch_.floats(tiled + parts.floats(threads_));
    float* const parts_memory = memory + tiled;
    const int64_t work = work_of(p);
    if (parts.any()) {
      parallel_for(threads_, p.sequences * parts.most_parts(), work, [&](int64_t task) {
        const int64_t s = task / parts.most_parts(), part = task % parts.most_parts(), end = p.keys_seen(s, 1);
        if (p.q_count(s) != 1 || part * part_keys(end) >= end) return;
        forward_query_part(p, parts, s, part, parts.own(parts_memory, omp_get_thread_num()),
                           parts.left(parts_memory, s, part));
      });
      parallel_for(threads_, p.sequences, p.sequences * parts.most_parts() * a.heads * a.head_size, [&](int64_t s) {
        if (p.q_count(s) == 1) join_query_parts(p, parts, parts_memory, s, out, lse, rows);
      });
    }
    const auto run_tile = [&](int64_t s, int64_t h, int64_t tile) {
      const QueryTile t{s, h, tile * Q, std::min(Q, p.q_count(s) - tile * Q)};
      forward_tile(p, t, TileMemory(memory, a.head_size, omp_get_thread_num()), out, lse + h * rows);
    };
    const int64_t heads = p.sequences * a.heads;
    int64_t most_tiles = 0;
    for (int64_t s = 0; s < p.sequences; ++s)
      if (p.q_count(s) > 1) most_tiles = std::max(most_tiles, tiles_of(p.q_count(s)));
    const auto tiles_in = [&](int64_t s) { return p.q_count(s) == 1 ? 0 : tiles_of(p.q_count(s)); };
    if (most_tiles == 0) return;
    // A thread that takes all tiles of a head finds its keys in the cache again.  Where there are few heads, threads
    // share them tile by tile, late ones first because they see more keys.
    if (heads >= 4 * threads_ || most_tiles == 1) {
      parallel_for_uneven(threads_, heads, work, [&](int64_t task) {
        const int64_t s = task / a.heads;
        for (int64_t tile = 0; tile < tiles_in(s); ++tile) run_tile(s, task % a.heads, tile);
      });
    } else {
      parallel_for_uneven(threads_, heads * most_tiles, work, [&](int64_t task) {
        const int64_t tile = most_tiles - 1 - task / heads, s = task % heads / a.heads;
        if (tile < tiles_in(s)) run_tile(s, task % a.heads, tile);
      });
    }
  });
}

void CpuBackend::attention_backward(Queue q, View d_query, View d_key, View d_value, ConstView d_out_RHD,
                                    ConstView query, ConstView key, ConstView value, ConstView out_RHD,
                                    ConstView lse_HR, const Attention& a) {
  constexpr Check check("attention_backward");
  check.that(a.blocks.table.empty(), "blocks", "have no backward pass");
  check.by_element("out", out_RHD, [&]<class T>(T) {
    const int64_t rows = out_RHD.shape[0], D = a.head_size;
    const auto out = check.matrix<T>("out", out_RHD, rows, a.heads * D);
    const auto d_out = check.matrix<T>("d_out", d_out_RHD, rows, a.heads * D);
    const float* lse = check.flat("lse", lse_HR, a.heads * rows);
    const Problem<T> p = checked<T>(check, query, key, value, a, rows);
    const auto to_query = check.strided<T>("d_query", d_query, rows, a.heads * D);
    const auto to_key = check.strided<T>("d_key", d_key, p.key.rows, a.kv_heads * D);
    const auto to_value = check.strided<T>("d_value", d_value, p.key.rows, a.kv_heads * D);
    // Rows of no sequence have gradient zero, and keys and values are accumulated into.
    fill_zero(q, d_query);
    fill_zero(q, d_key);
    fill_zero(q, d_value);
    int64_t most_keys = 0;
    for (int64_t s = 0; s < p.sequences; ++s) most_keys = std::max(most_keys, p.k_count(s));
    const std::size_t tiles = attention_scratch_floats(a.head_size) * static_cast<std::size_t>(threads_);
    const std::size_t sums = attention_sum_floats(dtype_of<T>, a.head_size, most_keys);
    float* memory = attention_scratch_.floats(tiles + sums * static_cast<std::size_t>(threads_));
    // One task per sequence and key head, because only its query heads add to d_key and d_value there.
    parallel_for_uneven(threads_, p.sequences * a.kv_heads, 3 * work_of(p), [&](int64_t task) {
      const TileMemory tile(memory, a.head_size, omp_get_thread_num());
      const int64_t W = Products<T>::width(D);
      const int64_t s = task / a.kv_heads, kh = task % a.kv_heads, keys = p.k_count(s);
      const int64_t row = keys > 0 ? p.k_row(s, 0) : 0;
      T *const key_rows = to_key.row(row) + kh * D, *const value_rows = to_value.row(row) + kh * D;
      Gradients<T> d{to_query, nullptr, nullptr, W, W};
      if constexpr (std::is_same_v<T, float>) {
        d = {to_query, key_rows, value_rows, to_key.stride, to_value.stride};
      } else {
        d.key = memory + tiles + sums * static_cast<std::size_t>(omp_get_thread_num());
        d.value = d.key + keys * W;
        std::fill(d.key, d.value + keys * W, 0.0f);
      }
      for (int64_t h = kh * p.group; h < (kh + 1) * p.group; ++h)
        for (int64_t first = 0; first < p.q_count(s); first += Q)
          backward_tile(p, {s, h, first, std::min(Q, p.q_count(s) - first)}, tile, d, d_out, out, lse + h * rows);
      if constexpr (!std::is_same_v<T, float>)
        for (int64_t k = 0; k < keys; ++k) {
          std::copy(d.key + k * W, d.key + k * W + D, key_rows + k * to_key.stride);
          std::copy(d.value + k * W, d.value + k * W + D, value_rows + k * to_value.stride);
        }
    });
  });
}

}  // namespace banyan::kernels::cpu
