// Attention of sequences with a single query each, as when text is generated: the time goes into reading keys and
// values once, so they are used where they lie, by all heads while they are in the cache, and scores lie along the
// keys.  The keys of a sequence are taken in parts, each with its own maxima and sums, which are put together at last,
// so that all threads have work however few sequences there are (T. Dao et al., "Flash-Decoding for long-context
// inference", 2023).
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/cpu/attention_problem.hpp"
#include "kernels/cpu/dropout_mask.hpp"
#include "kernels/cpu/narrow.hpp"
#include "kernels/cpu/simd_math.hpp"

namespace banyan::kernels::cpu::attention {

template <class T>
QueryParts query_parts(const Problem<T>& p) {
  QueryParts parts(p.a.heads, p.head_size);
  for (int64_t s = 0; s < p.sequences; ++s)
    if (p.q_count(s) == 1) parts.take(p.sequences, p.keys_seen(s, 1));
  return parts;
}

/// body(k, rows, at) for the keys [j + k, j + k + rows), which lie one behind the other from row `at` on; all of [j, j
/// + n).
template <class T, class Body>
void for_runs(const Problem<T>& p, int64_t s, int64_t j, int64_t n, const Body& body) {
  for (int64_t k = 0, rows = 0; k < n; k += rows) {
    rows = p.run(j + k, j + n);
    body(k, rows, p.k_row(s, j + k));
  }
}

/// Query heads of a group that share a register full of keys or values.
inline constexpr int kHeadsAtOnce = kLanes == 16 ? 4 : 2;

inline tile::Vector row_vector(const float* p) { return tile::load(p); }
inline tile::Vector row_vector(const BF16* p) { return Bf16Row{p}.vector(0); }

/// Asks for the rows of a run, all heads of them, before they are used head by head.
template <class T>
void prefetch_rows(const T* row, int64_t stride, int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; c += 64 / static_cast<int64_t>(sizeof(T)))
      __builtin_prefetch(row + r * stride + c);
}

/// scores[g * keys + i] = q_GD[g] . key[i] for G heads and four keys.
template <int G, class T>
inline void four_scores(int64_t D, const float* q_GD, const T* const (&key)[4], float* scores, int64_t keys,
                        int64_t count) {
  tile::Vector sum[G][4];
#pragma GCC unroll 4
  for (int g = 0; g < G; ++g)
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) sum[g][i] = tile::Vector{};
  int64_t d = 0;
  for (; d + kLanes <= D; d += kLanes) {
    tile::Vector right[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) right[i] = row_vector(key[i] + d);
#pragma GCC unroll 4
    for (int g = 0; g < G; ++g) {
      const tile::Vector left = tile::load(q_GD + g * D + d);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) sum[g][i] += left * right[i];
    }
  }
#pragma GCC unroll 4
  for (int g = 0; g < G; ++g) {
    float four[4];
    tile::store(four, tile::sums(sum[g][0], sum[g][1], sum[g][2], sum[g][3]));
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t c = d; c < D; ++c) four[i] += q_GD[g * D + c] * key[i][c];
      scores[g * keys + i] = four[i];
    }
  }
}

/// scores[g * keys + r] = q_GD[g] . (row r) for G heads of one group.
template <int G, class T>
void scores_of(int64_t D, const float* q_GD, const T* row, int64_t stride, int64_t rows, float* scores, int64_t keys) {
  for (int64_t r = 0; r < rows; r += 4) {
    const int64_t last = rows - 1;
    const T* const key[4] = {row + r * stride, row + std::min(last, r + 1) * stride,
                             row + std::min(last, r + 2) * stride, row + std::min(last, r + 3) * stride};
    four_scores<G>(D, q_GD, key, scores + r, keys, std::min<int64_t>(4, rows - r));
  }
}

/// sum_GD[g] += weights[g * keys + r] * (row r) for G heads of one group, from column d on as many vectors as V.
template <int G, int V, class T>
inline void add_values(int64_t D, int64_t d, const T* row, int64_t stride, int64_t rows, const float* weights,
                       int64_t keys, float* sum_GD) {
  tile::Vector sum[G][V];
#pragma GCC unroll 4
  for (int g = 0; g < G; ++g)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[g][v] = tile::load(sum_GD + g * D + d + v * kLanes);
  for (int64_t r = 0; r < rows; ++r) {
    tile::Vector value[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) value[v] = row_vector(row + r * stride + d + v * kLanes);
#pragma GCC unroll 4
    for (int g = 0; g < G; ++g)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[g][v] += weights[g * keys + r] * value[v];
  }
#pragma GCC unroll 4
  for (int g = 0; g < G; ++g)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) tile::store(sum_GD + g * D + d + v * kLanes, sum[g][v]);
}

template <int G, class T>
void values_of(int64_t D, const T* row, int64_t stride, int64_t rows, const float* weights, int64_t keys,
               float* sum_GD) {
  int64_t d = 0;
  for (; d + 2 * kLanes <= D; d += 2 * kLanes) add_values<G, 2>(D, d, row, stride, rows, weights, keys, sum_GD);
  for (; d + kLanes <= D; d += kLanes) add_values<G, 1>(D, d, row, stride, rows, weights, keys, sum_GD);
  for (int g = 0; g < G; ++g)
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = d; c < D; ++c) sum_GD[g * D + c] += weights[g * keys + r] * row[r * stride + c];
}

/// body(h, integral constant) for all heads, as many of a group at once as fit in registers.
template <class T, class Body>
void for_heads(const Problem<T>& p, const Body& body) {
  for (int64_t h = 0, n = 0; h < p.a.heads; h += n) {
    n = std::min<int64_t>(kHeadsAtOnce, p.group - h % p.group);
    if (n == 1) body(h, std::integral_constant<int, 1>());
    if (n == 2) body(h, std::integral_constant<int, 2>());
    if constexpr (kHeadsAtOnce > 2) {
      if (n == 3) body(h, std::integral_constant<int, 3>());
      if (n == 4) body(h, std::integral_constant<int, 4>());
    }
  }
}

/// One part of the keys of a sequence with a single query, for all heads.
template <class T>
void forward_query_part(const Problem<T>& p, const QueryParts& parts, int64_t s, int64_t part, float* own,
                        float* left) {
  const int64_t D = p.head_size, H = p.a.heads, keys = parts.most_keys();
  const int64_t end = p.keys_seen(s, 1), size = part_keys(end), j = part * size, n = std::min(size, end - j);
  const int64_t row = p.q_begin(s);
  float *const q = own, *const score = own + H * D, *const factor = score + H * keys;
  float *const most = left, *const total = left + H, *const sum = left + 2 * H;
  const T* const query = p.query.row(row);
  for (int64_t c = 0; c < H * D; ++c) q[c] = p.a.scale * query[c];
  for_runs(p, s, j, n, [&](int64_t k, int64_t rows, int64_t at) {
    const T* const first = p.key.row(at);
    prefetch_rows(first, p.key.stride, rows, p.a.kv_heads * D);
    for_heads(p, [&](int64_t h, auto G) {
      scores_of<G()>(D, q + h * D, first + h / p.group * D, p.key.stride, rows, score + h * keys + k, keys);
    });
  });
  const DropoutMask mask(p.a.dropout);
  for (int64_t h = 0; h < H; ++h) {
    float* const of_head = score + h * keys;
    float largest = -std::numeric_limits<float>::infinity(), added = 0;
#pragma omp simd reduction(max : largest)
    for (int64_t k = 0; k < n; ++k) largest = largest < of_head[k] ? of_head[k] : largest;
#pragma omp simd reduction(+ : added)
    for (int64_t k = 0; k < n; ++k) {
      const float e = exp_simd(of_head[k] - largest);
      added += e;
      of_head[k] = e;
    }
    most[h] = largest;
    total[h] = added;
    if (p.a.dropout.p > 0) {
      mask.row(row, (h << 20) + j, n, factor);
      for (int64_t k = 0; k < n; ++k) of_head[k] *= factor[k];
    }
  }
  std::fill(sum, sum + H * D, 0.0f);
  for_runs(p, s, j, n, [&](int64_t k, int64_t rows, int64_t at) {
    const T* const first = p.value.row(at);
    prefetch_rows(first, p.value.stride, rows, p.a.kv_heads * D);
    for_heads(p, [&](int64_t h, auto G) {
      values_of<G()>(D, first + h / p.group * D, p.value.stride, rows, score + h * keys + k, keys, sum + h * D);
    });
  });
}

/// Puts the parts of a sequence together: its output, and the logarithm of the sum of each head at lse_HR[h * rows].
template <class T>
void join_query_parts(const Problem<T>& p, const QueryParts& parts, float* memory, int64_t s, Matrix<T> out,
                      float* lse_HR, int64_t rows) {
  const int64_t D = p.head_size, H = p.a.heads, row = p.q_begin(s), end = p.keys_seen(s, 1);
  const int64_t count = (end + part_keys(end) - 1) / part_keys(end);
  for (int64_t h = 0; h < H; ++h) {
    T* const to = out.row(row) + h * D;
    float largest = -std::numeric_limits<float>::infinity(), total = 0;
    for (int64_t i = 0; i < count; ++i) largest = std::max(largest, parts.left(memory, s, i)[h]);
    // The first part's sums take those of the others in.
    float* const sum = count > 0 ? parts.left(memory, s, 0) + 2 * H + h * D : nullptr;
    for (int64_t i = 0; i < count; ++i) {
      const float* const left = parts.left(memory, s, i);
      const float shrunk = exp_simd(left[h] - largest);
      total += shrunk * left[H + h];
      const float* const part = left + 2 * H + h * D;
      if (i == 0)
#pragma omp simd
        for (int64_t d = 0; d < D; ++d) sum[d] *= shrunk;
      else
#pragma omp simd
        for (int64_t d = 0; d < D; ++d) sum[d] += shrunk * part[d];
    }
    const float inverse = 1.0f / total;
    for (int64_t d = 0; d < D; ++d) to[d] = count > 0 ? sum[d] * inverse : 0.0f;  // without keys: zeros
    lse_HR[h * rows + row] = count > 0 ? largest + std::log(total) : largest;
  }
}

}  // namespace banyan::kernels::cpu::attention
