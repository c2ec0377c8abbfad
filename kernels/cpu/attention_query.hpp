// Attention of a single query, as when text is generated: the time goes into reading keys and values once, so they are
// used where they lie, and scores lie along the keys.  The same running maximum and sum as in attention.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/attention_problem.hpp"
#include "kernels/cpu/attention_scratch.hpp"
#include "kernels/cpu/dropout_mask.hpp"
#include "kernels/cpu/simd_math.hpp"

namespace banyan::kernels::cpu::attention {

/// body(k, rows, at) for the keys [j + k, j + k + rows), which lie one behind the other from row `at` on; all of [j, j
/// + n).
template <class T, class Body>
void for_runs(const Problem<T>& p, int64_t s, int64_t j, int64_t n, const Body& body) {
  for (int64_t k = 0, rows = 0; k < n; k += rows) {
    rows = p.run(j + k, j + n);
    body(k, rows, p.k_row(s, j + k));
  }
}

/// The output and the logarithm of the sum of the one query of t.
template <class T>
void forward_query(const Problem<T>& p, const QueryTile& t, const AttentionTiles& m, Matrix<T> out, float* lse_R) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const int64_t D = p.head_size, row = p.q_begin(t.s) + t.first, end = p.keys_seen(t.s, t.first + 1);
  const int64_t column = t.h / p.group * D;
  const DropoutMask mask(p.a.dropout);
  float *const q = m.q_QD, *const score = m.p_KQ, *const factor = m.mask_KQ, *const sum = m.sum_QD;
  const T* const query = p.query.row(row) + t.h * D;
  for (int64_t d = 0; d < D; ++d) q[d] = p.a.scale * query[d];
  std::fill(sum, sum + D, 0.0f);
  float largest = -kInfinity, total = 0;
  for (int64_t j = 0, n = 0; j < end; j += n) {
    n = std::min(kKeyTile, end - j);
    for_runs(p, t.s, j, n, [&](int64_t k, int64_t rows, int64_t at) {
      for (int64_t r = 0; r < rows; ++r) {
        const T* const key = p.key.row(at + r) + column;
        float dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int64_t d = 0; d < D; ++d) dot += q[d] * key[d];
        score[k + r] = dot;
      }
    });
    float most = largest;
#pragma omp simd reduction(max : most)
    for (int64_t k = 0; k < n; ++k) most = most < score[k] ? score[k] : most;
    const float shrunk = exp_simd(largest - most);
    largest = most;
    float added = 0;
#pragma omp simd reduction(+ : added)
    for (int64_t k = 0; k < n; ++k) {
      const float e = exp_simd(score[k] - largest);
      added += e;
      score[k] = e;
    }
    total = total * shrunk + added;
    if (p.a.dropout.p > 0) {
      mask.row(row, (t.h << 20) + j, n, factor);
      for (int64_t k = 0; k < n; ++k) score[k] *= factor[k];
    }
    if (shrunk != 1.0f)
#pragma omp simd
      for (int64_t d = 0; d < D; ++d) sum[d] *= shrunk;
    for_runs(p, t.s, j, n, [&](int64_t k, int64_t rows, int64_t at) {
      int64_t r = 0;
      for (; r + 4 <= rows; r += 4) {
        const T* const v = p.value.row(at + r) + column;
        const int64_t stride = p.value.stride;
        const float a = score[k + r], b = score[k + r + 1], c = score[k + r + 2], e = score[k + r + 3];
#pragma omp simd
        for (int64_t d = 0; d < D; ++d)
          sum[d] += a * v[d] + b * v[stride + d] + c * v[2 * stride + d] + e * v[3 * stride + d];
      }
      for (; r < rows; ++r) {
        const T* const v = p.value.row(at + r) + column;
#pragma omp simd
        for (int64_t d = 0; d < D; ++d) sum[d] += score[k + r] * v[d];
      }
    });
  }
  T* const to = out.row(row) + t.h * D;
  const float inverse = end > 0 ? 1.0f / total : 0.0f;  // a sequence without keys: zeros
  for (int64_t d = 0; d < D; ++d) to[d] = sum[d] * inverse;
  lse_R[row] = end > 0 ? largest + std::log(total) : -kInfinity;
}

}  // namespace banyan::kernels::cpu::attention
