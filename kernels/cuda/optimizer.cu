// AdamW: one pass over parameter, gradient and both moments.
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/ops.hpp"

namespace banyan::kernels::cuda {
namespace {

constexpr int kThreads = 256;

template <bool Aligned>
__global__ void __launch_bounds__(kThreads)
    adamw_kernel(float* __restrict__ param, bf16* __restrict__ rounded, const float* __restrict__ grad,
                 float* __restrict__ m, float* __restrict__ v, int64_t count, AdamWFactors a) {
  constexpr int N = kGroup<float>;
  const int64_t at = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * N;
  if (at >= count) return;
  const auto update = [&](auto whole, int64_t valid) {
    constexpr bool kWhole = decltype(whole)::value;
    float p[N], g[N], m1[N], v1[N];
    load<kWhole>(p, param + at, valid);
    load<kWhole>(g, grad + at, valid);
    load<kWhole>(m1, m + at, valid);
    load<kWhole>(v1, v + at, valid);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float scaled = g[i] * a.grad_scale;
      m1[i] = a.beta1 * m1[i] + a.rest1 * scaled;
      v1[i] = a.beta2 * v1[i] + a.rest2 * scaled * scaled;
      p[i] = p[i] * a.keep - a.step_size * m1[i] / (sqrtf(v1[i]) * a.root_scale + a.eps);
    }
    store<kWhole>(param + at, p, valid);
    store<kWhole>(m + at, m1, valid);
    store<kWhole>(v + at, v1, valid);
    if (!rounded) return;
    if (kWhole) {  // four bf16, half a group
      const auto pair = [](float low, float high) {
        return __bfloat16_as_ushort(from_float<bf16>(low)) | unsigned{__bfloat16_as_ushort(from_float<bf16>(high))}
                                                                 << 16;
      };
      *reinterpret_cast<uint2*>(rounded + at) = make_uint2(pair(p[0], p[1]), pair(p[2], p[3]));
    } else {
      store<false>(rounded + at, p, valid);
    }
  };
  if (Aligned && count - at >= N)
    update(std::true_type{}, N);
  else
    update(std::false_type{}, count - at);
}

}  // namespace

cudaError_t adamw(cudaStream_t s, float* param, __nv_bfloat16* rounded, const float* grad, float* m, float* v,
                  int64_t count, AdamWFactors f) {
  const bool groups = aligned(param) && aligned(rounded) && aligned(grad) && aligned(m) && aligned(v);
  return launch({dim3(static_cast<unsigned>(ceil_div(count, int64_t{kThreads} * kGroup<float>))), dim3(kThreads), 0, s},
                groups ? adamw_kernel<true> : adamw_kernel<false>, param, rounded, grad, m, v, count, f);
}

}  // namespace banyan::kernels::cuda
