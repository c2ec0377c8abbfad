// Rotary position embedding, in the half-split order.
//
// The angle of a far position is a large number whose multiples of a full turn do not matter but cost digits.  It is
// computed in turns, as a sum of two floats, and full turns are taken off before anything is rounded: no double
// precision, and no loss at position 100,000.
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/ops.hpp"

namespace banyan::kernels::cuda {
namespace {

constexpr int kThreads = 128;

template <class T>
__global__ void __launch_bounds__(kThreads)
    rotary_kernel(T* __restrict__ x, const int* __restrict__ position, const Turns* __restrict__ turns, int pairs,
                  int half, int64_t stride, int64_t blocks_per_row, float sign) {
  const int64_t row = blockIdx.x / blocks_per_row;
  const int pair = static_cast<int>(blockIdx.x - row * blocks_per_row) * kThreads + static_cast<int>(threadIdx.x);
  if (pair >= pairs) return;
  const int head = pair / half, i = pair % half;
  const float p = static_cast<float>(position[row]);  // exact below 2^24
  const Turns t = turns[i];
  const float product = p * t.high, rest = fmaf(p, t.high, -product) + p * t.low;
  const float part = (product - rintf(product)) + rest;  // of a turn
  float sine, cosine;
  sincospif(2.0f * part, &sine, &cosine);
  sine *= sign;
  T* at = x + row * stride + static_cast<int64_t>(head) * 2 * half + i;
  const float a = to_float(at[0]), b = to_float(at[half]);
  at[0] = from_float<T>(a * cosine - b * sine);
  at[half] = from_float<T>(b * cosine + a * sine);
}

}  // namespace

template <class T>
cudaError_t rotary(cudaStream_t s, T* x, const int* position, const Turns* turns, int64_t rows, int heads,
                   int head_size, int64_t stride, bool inverse) {
  const int half = head_size / 2, pairs = heads * half;
  const int64_t blocks = ceil_div(pairs, kThreads);
  return launch({dim3(static_cast<unsigned>(rows * blocks)), dim3(kThreads), 0, s}, rotary_kernel<T>, x, position,
                turns, pairs, half, stride, blocks, inverse ? -1.0f : 1.0f);
}

template cudaError_t rotary(cudaStream_t, float*, const int*, const Turns*, int64_t, int, int, int64_t, bool);
template cudaError_t rotary(cudaStream_t, __nv_bfloat16*, const int*, const Turns*, int64_t, int, int, int64_t, bool);

}  // namespace banyan::kernels::cuda
