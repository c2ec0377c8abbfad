// Sums to one number, and reduction element by element.  The only kernels with double precision: these sums are over
// everything a rank holds, and are limited by memory even so.
#include <algorithm>

#include "kernels/cuda/element.cuh"
#include "kernels/cuda/ops.hpp"

namespace banyan::kernels::cuda {
namespace {

constexpr int kThreads = 256, kMostPieces = 1024;

template <Sum What>
__device__ __forceinline__ double term(float x) {
  if constexpr (What == Sum::kSum) return x;
  if constexpr (What == Sum::kSquares) return static_cast<double>(x) * static_cast<double>(x);
  // Infinity and NaN have all exponent bits set.
  return (__float_as_uint(x) & 0x7f800000u) == 0x7f800000u ? 1.0 : 0.0;
}

/// The sum over a block in a fixed order, on its first thread.
__device__ __forceinline__ double block_sum(double v) {
  auto& parts = block_shared<double[kThreads]>();
  parts[threadIdx.x] = v;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half) parts[threadIdx.x] += parts[threadIdx.x + half];
  }
  return parts[0];
}

/// partial[piece] = sum of the piece [begin, begin + piece) of x.
template <Sum What, bool Aligned>
__global__ void __launch_bounds__(kThreads)
    sum_kernel(double* __restrict__ partial, const float* __restrict__ x, int64_t count, int64_t piece) {
  constexpr int N = kGroup<float>;
  const int64_t begin = blockIdx.x * piece, end = min(count, begin + piece);
  double sum = 0;
  for (int64_t i = begin + static_cast<int64_t>(threadIdx.x) * N; i < end; i += kThreads * N) {
    float f[N];
    if (Aligned && i + N <= end)
      load<true>(f, x + i, N);
    else
      load<false>(f, x + i, end - i);  // zeros behind the end
#pragma unroll
    for (int k = 0; k < N; ++k) sum += term<What>(f[k]);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads)
    sum_parts_kernel(double* __restrict__ out, const double* __restrict__ partial, int pieces) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < pieces; i += kThreads) sum += partial[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *out = sum;
}

template <Pairwise Op, class T>
__device__ __forceinline__ T reduced(T x, T y) {
  if constexpr (Op == Pairwise::kSum) return x + y;
  if constexpr (Op == Pairwise::kMax) return y > x ? y : x;
  return y < x ? y : x;
}

template <Pairwise Op, class T>
__global__ void __launch_bounds__(kThreads) reduce_kernel(T* out, const T* a, const T* b, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  if constexpr (std::is_same_v<T, bf16>) {
    out[i] = from_float<bf16>(reduced<Op>(to_float(a[i]), to_float(b[i])));
  } else {
    out[i] = reduced<Op>(a[i], b[i]);
  }
}

template <Sum What>
cudaError_t partial_sums(cudaStream_t s, double* partial, const float* x, int64_t count, int64_t piece) {
  return launch({dim3(static_cast<unsigned>(ceil_div(count, piece))), dim3(kThreads), 0, s},
                aligned(x) ? sum_kernel<What, true> : sum_kernel<What, false>, partial, x, count, piece);
}

}  // namespace

std::size_t sum_workspace() { return kMostPieces * sizeof(double); }

cudaError_t sum(cudaStream_t s, Workspace w, double* out, const float* x, int64_t count, Sum what) {
  constexpr int64_t least = 4096;  // elements of a piece; and whole groups, so that all of them are aligned
  const int64_t piece = std::max(least, ceil_div(ceil_div(count, kMostPieces), least) * least);
  auto* partial = static_cast<double*>(w.data);
  const auto start = what == Sum::kSum       ? partial_sums<Sum::kSum>
                     : what == Sum::kSquares ? partial_sums<Sum::kSquares>
                                             : partial_sums<Sum::kNotFinite>;
  if (const cudaError_t e = start(s, partial, x, count, piece)) return e;
  return launch({dim3(1), dim3(kThreads), 0, s}, sum_parts_kernel, out, partial, ceil_div(count, piece));
}

template <class T>
cudaError_t reduce(cudaStream_t s, T* out, const T* a, const T* b, int64_t count, Pairwise op) {
  const auto kernel = op == Pairwise::kSum   ? reduce_kernel<Pairwise::kSum, T>
                      : op == Pairwise::kMax ? reduce_kernel<Pairwise::kMax, T>
                                             : reduce_kernel<Pairwise::kMin, T>;
  return launch({dim3(static_cast<unsigned>(ceil_div(count, kThreads))), dim3(kThreads), 0, s}, kernel, out, a, b,
                count);
}

template cudaError_t reduce(cudaStream_t, float*, const float*, const float*, int64_t, Pairwise);
template cudaError_t reduce(cudaStream_t, bf16*, const bf16*, const bf16*, int64_t, Pairwise);
template cudaError_t reduce(cudaStream_t, double*, const double*, const double*, int64_t, Pairwise);
template cudaError_t reduce(cudaStream_t, int*, const int*, const int*, int64_t, Pairwise);
template cudaError_t reduce(cudaStream_t, int64_t*, const int64_t*, const int64_t*, int64_t, Pairwise);

}  // namespace banyan::kernels::cuda
