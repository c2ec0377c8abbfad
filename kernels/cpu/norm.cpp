// LayerNorm and RMSNorm.  A row is read from memory once and then found in the cache by the later passes over it.
//
// Where a sum over a row reads the weights, the body has a pointer of its own to them: one that it would fetch through
// the closure in every round keeps the compiler from using vectors.
#include <cmath>

#include "kernels/cpu/check.hpp"
#include "kernels/cpu/column_sums.hpp"
#include "kernels/cpu/cpu_backend.hpp"
#include "kernels/cpu/parallel.hpp"

namespace banyan::kernels::cpu {

void CpuBackend::layernorm_forward(Queue, View out_RC, View mean_R, View rstd_R, ConstView x_RC, ConstView weight_C,
                                   ConstView bias_C, float eps) {
  constexpr Check check("layernorm_forward");
  check.by_element("x", x_RC, [&]<class T>(T) {
    const auto x = check.matrix<T>("x", x_RC);
    const auto out = check.matrix<T>("out", out_RC, x.rows, x.columns);
    float *mean = check.flat("mean", mean_R, x.rows), *rstd = check.flat("rstd", rstd_R, x.rows);
    const float *weight = check.flat("weight", weight_C, x.columns), *bias = check.flat("bias", bias_C, x.columns);
    const std::int64_t C = x.columns;
    parallel_for(threads_, x.rows, 2 * x.count(), [&](std::int64_t r) {
      const T* in = x.row(r);
      T* to = out.row(r);
      float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t c = 0; c < C; ++c) sum += in[c];
      const float m = sum / static_cast<float>(C);
#pragma omp simd reduction(+ : squares)
      for (std::int64_t c = 0; c < C; ++c) squares += (in[c] - m) * (in[c] - m);
      const float s = 1.0f / std::sqrt(squares / static_cast<float>(C) + eps);
#pragma omp simd
      for (std::int64_t c = 0; c < C; ++c) to[c] = (in[c] - m) * s * weight[c] + bias[c];
      mean[r] = m;
      rstd[r] = s;
    });
  });
}

void CpuBackend::layernorm_backward(Queue, View d_x_RC, View d_weight_C, View d_bias_C, ConstView d_out_RC,
                                    ConstView x_RC, ConstView weight_C, ConstView mean_R, ConstView rstd_R) {
  constexpr Check check("layernorm_backward");
  check.by_element("x", x_RC, [&]<class T>(T) {
    const auto x = check.matrix<T>("x", x_RC);
    const auto d_x = check.matrix<T>("d_x", d_x_RC, x.rows, x.columns);
    const auto d_out = check.matrix<T>("d_out", d_out_RC, x.rows, x.columns);
    float* d_weight = check.flat("d_weight", d_weight_C, x.columns);
    float* d_bias = check.flat("d_bias", d_bias_C, x.columns);
    const float* weight = check.flat("weight", weight_C, x.columns);
    const float *mean = check.flat("mean", mean_R, x.rows), *rstd = check.flat("rstd", rstd_R, x.rows);
    const std::int64_t C = x.columns;
    // n = (x - mean) * rstd, w = d_out * weight:   d_x += rstd * (w - mean(w) - n * mean(w * n))
    parallel_for(threads_, x.rows, 4 * x.count(), [&](std::int64_t r) {
      const T *in = x.row(r), *g = d_out.row(r);
      const float* factor = weight;
      T* to = d_x.row(r);
      const float m = mean[r], s = rstd[r];
      float sum_w = 0, sum_wn = 0;
#pragma omp simd reduction(+ : sum_w, sum_wn)
      for (std::int64_t c = 0; c < C; ++c) {
        const float w = g[c] * factor[c];
        sum_w += w;
        sum_wn += w * ((in[c] - m) * s);
      }
      const float mean_w = sum_w / static_cast<float>(C), mean_wn = sum_wn / static_cast<float>(C);
#pragma omp simd
      for (std::int64_t c = 0; c < C; ++c) to[c] += s * (g[c] * factor[c] - mean_w - (in[c] - m) * s * mean_wn);
    });
    column_sums<2>(
        threads_, x.rows, C,
        [&](std::int64_t r, std::int64_t begin, std::int64_t n, auto& part) {
          const T *in = x.row(r) + begin, *g = d_out.row(r) + begin;
          const float m = mean[r], s = rstd[r];
          float *weights = part[0], *biases = part[1];
#pragma omp simd
          for (std::int64_t c = 0; c < n; ++c) {
            weights[c] += g[c] * ((in[c] - m) * s);
            biases[c] += g[c];
          }
        },
        [&](int sum, std::int64_t c, float value) { (sum == 0 ? d_weight : d_bias)[c] += value; });
  });
}

void CpuBackend::rmsnorm_forward(Queue, View out_RC, View rstd_R, ConstView x_RC, ConstView weight_C, float eps) {
  constexpr Check check("rmsnorm_forward");
  check.by_element("x", x_RC, [&]<class T>(T) {
    const auto x = check.matrix<T>("x", x_RC);
    const auto out = check.matrix<T>("out", out_RC, x.rows, x.columns);
    float* rstd = check.flat("rstd", rstd_R, x.rows);
    const float* weight = check.flat("weight", weight_C, x.columns);
    const std::int64_t C = x.columns;
    parallel_for(threads_, x.rows, 2 * x.count(), [&](std::int64_t r) {
      const T* in = x.row(r);
      T* to = out.row(r);
      float squares = 0;
#pragma omp simd reduction(+ : squares)
      for (std::int64_t c = 0; c < C; ++c) squares += in[c] * in[c];
      const float s = 1.0f / std::sqrt(squares / static_cast<float>(C) + eps);
#pragma omp simd
      for (std::int64_t c = 0; c < C; ++c) to[c] = in[c] * s * weight[c];
      rstd[r] = s;
    });
  });
}

void CpuBackend::rmsnorm_backward(Queue, View d_x_RC, View d_weight_C, ConstView d_out_RC, ConstView x_RC,
                                  ConstView weight_C, ConstView rstd_R) {
  constexpr Check check("rmsnorm_backward");
  check.by_element("x", x_RC, [&]<class T>(T) {
    const auto x = check.matrix<T>("x", x_RC);
    const auto d_x = check.matrix<T>("d_x", d_x_RC, x.rows, x.columns);
    const auto d_out = check.matrix<T>("d_out", d_out_RC, x.rows, x.columns);
    float* d_weight = check.flat("d_weight", d_weight_C, x.columns);
    const float* weight = check.flat("weight", weight_C, x.columns);
    const float* rstd = check.flat("rstd", rstd_R, x.rows);
    const std::int64_t C = x.columns;
    // n = x * rstd, w = d_out * weight:   d_x += rstd * (w - n * mean(w * n))
    parallel_for(threads_, x.rows, 4 * x.count(), [&](std::int64_t r) {
      const T *in = x.row(r), *g = d_out.row(r);
      const float* factor = weight;
      T* to = d_x.row(r);
      const float s = rstd[r];
      float sum_wn = 0;
#pragma omp simd reduction(+ : sum_wn)
      for (std::int64_t c = 0; c < C; ++c) sum_wn += g[c] * factor[c] * (in[c] * s);
      const float mean_wn = sum_wn / static_cast<float>(C);
#pragma omp simd
      for (std::int64_t c = 0; c < C; ++c) to[c] += s * (g[c] * factor[c] - in[c] * s * mean_wn);
    });
    column_sums<1>(
        threads_, x.rows, C,
        [&](std::int64_t r, std::int64_t begin, std::int64_t n, auto& part) {
          const T *in = x.row(r) + begin, *g = d_out.row(r) + begin;
          const float s = rstd[r];
          float* weights = part[0];
#pragma omp simd
          for (std::int64_t c = 0; c < n; ++c) weights[c] += g[c] * (in[c] * s);
        },
        [&](int, std::int64_t c, float value) { d_weight[c] += value; });
  });
}

}  // namespace banyan::kernels::cpu
