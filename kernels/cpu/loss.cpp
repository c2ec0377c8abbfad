// Cross entropy over a vocabulary that may be split over ranks.
#include <cmath>
#include <limits>

#include "kernels/cpu/check.hpp"
#include "kernels/cpu/cpu_backend.hpp"
#include "kernels/cpu/parallel.hpp"
#include "kernels/cpu/simd_math.hpp"

namespace banyan::kernels::cpu {

void CpuBackend::cross_entropy_stats(Queue, View max_R, View sum_R, View target_R, ConstView logits_RV,
                                     ConstView targets_R, std::int64_t vocab_begin, std::int64_t valid) {
  constexpr Check check("cross_entropy_stats");
  check.by_element("logits", logits_RV, [&]<class T>(T) {
    const auto logits = check.strided<T>("logits", logits_RV);
    const std::int32_t* targets = check.flat<std::int32_t>("targets", targets_R, logits.rows);
    float *max = check.flat("max", max_R, logits.rows), *sum = check.flat("sum", sum_R, logits.rows);
    float* target = check.flat("target", target_R, logits.rows);
    check.that(valid >= 0 && valid <= logits.columns, "valid", "is not a number of columns of logits");
    parallel_for(threads_, logits.rows, 8 * logits.rows * valid, [&](std::int64_t r) {
      const T* in = logits.row(r);
      // Blocks of columns that stay in the cache between the search for a larger maximum and the sum under it.  Float
      // sums of at most 1024 terms, added up in double: 50,000 terms lose no digits.
      float m = -std::numeric_limits<float>::infinity();
      double total = 0;
      for (std::int64_t begin = 0; begin < valid; begin += 1024) {
        const std::int64_t end = std::min(valid, begin + 1024);
        float largest = m, part = 0;
#pragma omp simd reduction(max : largest)
        for (std::int64_t c = begin; c < end; ++c) {
          const float logit = in[c];
          largest = logit > largest ? logit : largest;
        }
        if (largest > m) total *= std::exp(static_cast<double>(m) - static_cast<double>(largest));
        m = largest;
#pragma omp simd reduction(+ : part)
        for (std::int64_t c = begin; c < end; ++c) part += exp_simd(in[c] - m);
        total += static_cast<double>(part);
      }
      const std::int64_t t = targets[r] - vocab_begin;
      max[r] = m;
      sum[r] = static_cast<float>(total);
      target[r] = targets[r] >= 0 && t >= 0 && t < valid ? static_cast<float>(in[t]) : 0.0f;
    });
  });
}

void CpuBackend::cross_entropy_rescale(Queue, View sum_R, ConstView local_max_R, ConstView global_max_R) {
  constexpr Check check("cross_entropy_rescale");
  const std::int64_t rows = sum_R.count();
  float* sum = check.flat("sum", sum_R, rows);
  const float *local = check.flat("local_max", local_max_R, rows),
              *global = check.flat("global_max", global_max_R, rows);
  // A rank whose columns are all padding has sum 0 and max -infinity; where the maxima are equal nothing changes.
  for (std::int64_t r = 0; r < rows; ++r)
    if (local[r] != global[r]) sum[r] *= std::exp(local[r] - global[r]);
}

void CpuBackend::cross_entropy_loss(Queue, View loss_R, View lse_R, ConstView max_R, ConstView sum_R,
                                    ConstView target_R, ConstView targets_R) {
  constexpr Check check("cross_entropy_loss");
  const std::int64_t rows = loss_R.count();
  float *loss = check.flat("loss", loss_R, rows), *lse = check.flat("lse", lse_R, rows);
  const float *max = check.flat("max", max_R, rows), *sum = check.flat("sum", sum_R, rows);
  const float* target = check.flat("target", target_R, rows);
  const std::int32_t* targets = check.flat<std::int32_t>("targets", targets_R, rows);
  for (std::int64_t r = 0; r < rows; ++r) {
    lse[r] = std::log(sum[r]) + max[r];
    loss[r] = targets[r] < 0 ? 0.0f : lse[r] - target[r];
  }
}

void CpuBackend::cross_entropy_backward(Queue, View logits_RV, ConstView lse_R, ConstView targets_R,
                                        std::int64_t vocab_begin, std::int64_t valid, float scale) {
  constexpr Check check("cross_entropy_backward");
  check.by_element("logits", logits_RV, [&]<class T>(T) {
    const auto logits = check.strided<T>("logits", logits_RV);
    const float* lse = check.flat("lse", lse_R, logits.rows);
    const std::int32_t* targets = check.flat<std::int32_t>("targets", targets_R, logits.rows);
    check.that(valid >= 0 && valid <= logits.columns, "valid", "is not a number of columns of logits");
    parallel_for(threads_, logits.rows, 8 * logits.count(), [&](std::int64_t r) {
      T* io = logits.row(r);
      const bool ignored = targets[r] < 0;
      const std::int64_t t = targets[r] - vocab_begin, used = ignored ? 0 : valid;
      const float l = lse[r];
#pragma omp simd
      for (std::int64_t c = 0; c < used; ++c) io[c] = exp_simd(io[c] - l) * scale;
      if (!ignored && t >= 0 && t < valid) io[t] += -scale;
      std::fill(io + used, io + logits.columns, 0.0f);
    });
  });
}

}  // namespace banyan::kernels::cpu
