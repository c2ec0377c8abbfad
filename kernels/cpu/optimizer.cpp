// AdamW: one pass over parameter, gradient and both moments.
#include <cmath>

#include "kernels/cpu/check.hpp"
#include "kernels/cpu/cpu_backend.hpp"
#include "kernels/cpu/parallel.hpp"

namespace banyan::kernels::cpu {

void CpuBackend::adamw(Queue, View param_n, ConstView grad_n, View m_n, View v_n, const AdamW& h) {
  constexpr Check check("adamw");
  const std::int64_t count = param_n.count();
  float *param = check.flat("param", param_n, count), *m = check.flat("m", m_n, count),
        *v = check.flat("v", v_n, count);
  const float* grad = check.flat("grad", grad_n, count);
  BF16* rounded = h.rounded ? check.flat<BF16>("rounded", h.rounded, count) : nullptr;
  check.that(h.step >= 1, "step", "counts from 1");
  // The bias corrections in double: 1 - beta^step loses all its digits in float while step is small.
  const double correction1 = 1.0 - std::pow(static_cast<double>(h.beta1), static_cast<double>(h.step));
  const double correction2 = 1.0 - std::pow(static_cast<double>(h.beta2), static_cast<double>(h.step));
  const float step_size = static_cast<float>(static_cast<double>(h.lr) / correction1);
  const float root_scale = static_cast<float>(1.0 / std::sqrt(correction2));
  const float beta1 = h.beta1, beta2 = h.beta2, rest1 = 1.0f - h.beta1, rest2 = 1.0f - h.beta2;
  const float grad_scale = h.grad_scale, eps = h.eps, keep = 1.0f - h.lr * h.weight_decay;
  parallel_pieces(threads_, count, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) {
      const float g = grad[i] * grad_scale;
      const float m1 = beta1 * m[i] + rest1 * g;
      const float v1 = beta2 * v[i] + rest2 * g * g;
      m[i] = m1;
      v[i] = v1;
      param[i] = param[i] * keep - step_size * m1 / (std::sqrt(v1) * root_scale + eps);
    }
    if (!rounded) return;
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) rounded[i] = param[i];  // still in the cache
  });
}

}  // namespace banyan::kernels::cpu
