// Cross entropy over a vocabulary that may be split over ranks.
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/ops.hpp"

namespace banyan::kernels::cuda {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * 32;

/// Maximum and sum of exp(x - maximum) of some numbers: what can be joined in any grouping.
struct Stats {
  float max, sum;
};
__device__ __forceinline__ Stats join(Stats a, Stats b) {
  const float m = fmaxf(a.max, b.max);
  // Equal maxima, two empty parts among them, need no factor; exp(-inf - -inf) would be NaN.
  const float fa = a.max == m ? 1.0f : expf(a.max - m), fb = b.max == m ? 1.0f : expf(b.max - m);
  return {m, a.sum * fa + b.sum * fb};
}

/// A block has a row; every thread runs over its groups with the largest value so far (one pass over memory).
template <bool Aligned, class T>
__global__ void __launch_bounds__(kThreads)
    stats_kernel(float* __restrict__ max, float* __restrict__ sum, float* __restrict__ target,
                 const T* __restrict__ logits, const int* __restrict__ targets, int64_t stride, int64_t vocab_begin,
                 int64_t valid) {
  constexpr int N = kGroup<T>;
  const int64_t row = blockIdx.x;
  const T* in = logits + row * stride;
  Stats mine{-INFINITY, 0};
  for (int64_t c = static_cast<int64_t>(threadIdx.x) * N; c < valid; c += kThreads * N) {
    float f[N];
    if (Aligned && c + N <= valid)
      load<true>(f, in + c, N);
    else
      load<false>(f, in + c, valid - c);
    float largest = mine.max;
#pragma unroll
    for (int i = 0; i < N; ++i)
      if (c + i < valid) largest = fmaxf(largest, f[i]);
    if (largest > mine.max) mine = {largest, mine.sum * expf(mine.max - largest)};
#pragma unroll
    for (int i = 0; i < N; ++i)
      if (c + i < valid) mine.sum += expf(f[i] - mine.max);
  }
#pragma unroll
  for (int other = 16; other > 0; other /= 2)
    mine = join(mine, {__shfl_xor_sync(kAllLanes, mine.max, other), __shfl_xor_sync(kAllLanes, mine.sum, other)});
  auto& parts = block_shared<Stats[kWarps]>();
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = mine;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < kWarps; ++w) mine = join(mine, parts[w]);
  const int64_t t = targets[row] - vocab_begin;
  max[row] = mine.max;
  sum[row] = mine.sum;
  target[row] = targets[row] >= 0 && t >= 0 && t < valid ? to_float(in[t]) : 0.0f;
}

__global__ void __launch_bounds__(kThreads) rescale_kernel(float* __restrict__ sum, const float* __restrict__ local,
                                                           const float* __restrict__ global, int64_t rows) {
  const int64_t r = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  // A rank whose columns are all padding has sum 0 and max -infinity; where the maxima are equal nothing changes.
  if (r < rows && local[r] != global[r]) sum[r] *= expf(local[r] - global[r]);
}

__global__ void __launch_bounds__(kThreads)
    loss_kernel(float* __restrict__ loss, float* __restrict__ lse, const float* __restrict__ max,
                const float* __restrict__ sum, const float* __restrict__ target, const int* __restrict__ targets,
                int64_t rows) {
  const int64_t r = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (r >= rows) return;
  const float l = logf(sum[r]) + max[r];
  lse[r] = l;
  loss[r] = targets[r] < 0 ? 0.0f : l - target[r];
}

template <bool Aligned, class T>
__global__ void __launch_bounds__(kThreads)
    loss_backward_kernel(T* __restrict__ logits, const float* __restrict__ lse, const int* __restrict__ targets,
                         int64_t columns, int64_t stride, int64_t vocab_begin, int64_t valid, float scale,
                         int64_t blocks_per_row) {
  constexpr int N = kGroup<T>;
  const int64_t row = blockIdx.x / blocks_per_row;
  const int64_t c = ((static_cast<int64_t>(blockIdx.x) - row * blocks_per_row) * kThreads + threadIdx.x) * N;
  if (c >= columns) return;
  const bool ignored = targets[row] < 0;
  const int64_t t = targets[row] - vocab_begin, used = ignored ? 0 : valid;
  const float l = lse[row];
  T* io = logits + row * stride + c;
  float f[N];
  load<Aligned>(f, io, columns - c);
#pragma unroll
  for (int i = 0; i < N; ++i) f[i] = c + i < used ? (expf(f[i] - l) - (c + i == t ? 1.0f : 0.0f)) * scale : 0.0f;
  store<Aligned>(io, f, columns - c);
}

}  // namespace

template <class T>
cudaError_t cross_entropy_stats(cudaStream_t s, float* max, float* sum, float* target, const T* logits,
                                const int* targets, int64_t rows, int64_t stride, int64_t vocab_begin, int64_t valid) {
  const bool groups = aligned(logits) && stride % kGroup<T> == 0;
  return launch({dim3(static_cast<unsigned>(rows)), dim3(kThreads), 0, s},
                groups ? stats_kernel<true, T> : stats_kernel<false, T>, max, sum, target, logits, targets, stride,
                vocab_begin, valid);
}

cudaError_t cross_entropy_rescale(cudaStream_t s, float* sum, const float* local_max, const float* global_max,
                                  int64_t rows) {
  return launch({dim3(static_cast<unsigned>(ceil_div(rows, kThreads))), dim3(kThreads), 0, s}, rescale_kernel, sum,
                local_max, global_max, rows);
}

cudaError_t cross_entropy_loss(cudaStream_t s, float* loss, float* lse, const float* max, const float* sum,
                               const float* target, const int* targets, int64_t rows) {
  return launch({dim3(static_cast<unsigned>(ceil_div(rows, kThreads))), dim3(kThreads), 0, s}, loss_kernel, loss, lse,
                max, sum, target, targets, rows);
}

template <class T>
cudaError_t cross_entropy_backward(cudaStream_t s, T* logits, const float* lse, const int* targets, int64_t rows,
                                   int64_t columns, int64_t stride, int64_t vocab_begin, int64_t valid, float scale) {
  const int64_t blocks = ceil_div(columns, int64_t{kThreads} * kGroup<T>);
  return launch({dim3(static_cast<unsigned>(rows * blocks)), dim3(kThreads), 0, s},
                aligned(logits, columns, stride) ? loss_backward_kernel<true, T> : loss_backward_kernel<false, T>,
                logits, lse, targets, columns, stride, vocab_begin, valid, scale, blocks);
}

#define BANYAN_FOR(T)                                                                                                \
  template cudaError_t cross_entropy_stats(cudaStream_t, float*, float*, float*, const T*, const int*, int64_t,      \
                                           int64_t, int64_t, int64_t);                                               \
  template cudaError_t cross_entropy_backward(cudaStream_t, T*, const float*, const int*, int64_t, int64_t, int64_t, \
                                              int64_t, int64_t, float);
BANYAN_FOR(float)
BANYAN_FOR(__nv_bfloat16)
#undef BANYAN_FOR

}  // namespace banyan::kernels::cuda
