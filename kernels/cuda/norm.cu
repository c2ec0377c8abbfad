// LayerNorm and RMSNorm, and sums of columns for the gradients of weights and biases.
//
// A warp has a row to itself: sums over a row are shuffles, without barriers, and eight rows make a block.  The row is
// read from memory once and found in the cache by the later passes over it.  Variance in a second pass: the one-pass
// formula loses its digits where the mean is large.
#include "kernels/cuda/column_sums.cuh"

namespace banyan::kernels::cuda {
namespace {

constexpr int kRows = 8;  // of a block, a warp each

template <bool Layer, bool Aligned, class T>
__global__ void __launch_bounds__(kRows * 32)
    norm_forward_kernel(T* __restrict__ out, float* __restrict__ mean, float* __restrict__ rstd,
                        const T* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ bias,
                        int64_t rows, int columns, float eps) {
  constexpr int N = kGroup<T>;
  const int lane = threadIdx.x % 32;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRows + threadIdx.x / 32;
  if (row >= rows) return;  // a whole warp, and there is no barrier
  const T* in = x + row * columns;
  float m = 0, f[N];
  if constexpr (Layer) {
    float sum = 0;
    for (int c = lane * N; c < columns; c += 32 * N) {
      load<Aligned>(f, in + c, columns - c);
#pragma unroll
      for (int i = 0; i < N; ++i) sum += f[i];
    }
    m = warp_sum(sum) / static_cast<float>(columns);
  }
  float squares = 0;
  for (int c = lane * N; c < columns; c += 32 * N) {
    load<Aligned>(f, in + c, columns - c);
#pragma unroll
    for (int i = 0; i < N; ++i)
      if (Aligned || c + i < columns) squares += (f[i] - m) * (f[i] - m);
  }
  const float s = 1.0f / sqrtf(warp_sum(squares) / static_cast<float>(columns) + eps);
  for (int c = lane * N; c < columns; c += 32 * N) {
    float w[N], b[N] = {};
    load<Aligned>(f, in + c, columns - c);
    load<Aligned>(w, weight + c, columns - c);
    if constexpr (Layer) load<Aligned>(b, bias + c, columns - c);
#pragma unroll
    for (int i = 0; i < N; ++i) f[i] = (f[i] - m) * s * w[i] + b[i];
    store<Aligned>(out + row * columns + c, f, columns - c);
  }
  if (lane == 0) {
    if constexpr (Layer) mean[row] = m;
    rstd[row] = s;
  }
}

// n = (x - mean) * rstd, w = d_out * weight:   d_x += rstd * (w - mean(w) - n * mean(w * n)); RMSNorm without mean(w).
template <bool Layer, bool Aligned, class T>
__global__ void __launch_bounds__(kRows * 32)
    norm_backward_kernel(T* __restrict__ d_x, const T* __restrict__ d_out, const T* __restrict__ x,
                         const float* __restrict__ weight, const float* __restrict__ mean,
                         const float* __restrict__ rstd, int64_t rows, int columns) {
  constexpr int N = kGroup<T>;
  const int lane = threadIdx.x % 32;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRows + threadIdx.x / 32;
  if (row >= rows) return;
  const T *in = x + row * columns, *g = d_out + row * columns;
  T* to = d_x + row * columns;
  const float m = Layer ? mean[row] : 0.0f, s = rstd[row];
  float f[N], d[N], w[N], sum_w = 0, sum_wn = 0;
  for (int c = lane * N; c < columns; c += 32 * N) {
    load<Aligned>(f, in + c, columns - c);
    load<Aligned>(d, g + c, columns - c);
    load<Aligned>(w, weight + c, columns - c);
#pragma unroll
    for (int i = 0; i < N; ++i) {  // behind the end d is zero
      const float dw = d[i] * w[i];
      sum_w += dw;
      sum_wn += dw * ((f[i] - m) * s);
    }
  }
  const float mean_w = Layer ? warp_sum(sum_w) / static_cast<float>(columns) : 0.0f;
  const float mean_wn = warp_sum(sum_wn) / static_cast<float>(columns);
  for (int c = lane * N; c < columns; c += 32 * N) {
    float sum[N];
    load<Aligned>(f, in + c, columns - c);
    load<Aligned>(d, g + c, columns - c);
    load<Aligned>(w, weight + c, columns - c);
    load<Aligned>(sum, to + c, columns - c);
#pragma unroll
    for (int i = 0; i < N; ++i) sum[i] += s * (d[i] * w[i] - mean_w - (f[i] - m) * s * mean_wn);
    store<Aligned>(to + c, sum, columns - c);
  }
}

template <bool Layer, bool Aligned, class T>
__global__ void __launch_bounds__(kSumWarps * 32)
    norm_weights_kernel(float* __restrict__ partial, const T* __restrict__ d_out, const T* __restrict__ x,
                        const float* __restrict__ mean, const float* __restrict__ rstd, int64_t rows, int64_t columns,
                        int64_t strips) {
  constexpr int N = kGroup<T>, sums = Layer ? 2 : 1;
  sum_columns<sums, N>(partial, rows, columns, strips, [&](int64_t r, int64_t c, int64_t valid, float(&acc)[sums][N]) {
    float f[N], d[N];
    load<Aligned>(f, x + r * columns + c, valid);
    load<Aligned>(d, d_out + r * columns + c, valid);
    const float m = Layer ? mean[r] : 0.0f, s = rstd[r];
#pragma unroll
    for (int i = 0; i < N; ++i) {
      acc[0][i] += d[i] * ((f[i] - m) * s);
      if constexpr (Layer) acc[1][i] += d[i];
    }
  });
}

template <bool Aligned, class T>
__global__ void __launch_bounds__(kSumWarps * 32)
    bias_kernel(float* __restrict__ partial, const T* __restrict__ d_out, int64_t rows, int64_t columns, int64_t stride,
                int64_t strips) {
  constexpr int N = kGroup<T>;
  sum_columns<1, N>(partial, rows, columns, strips, [&](int64_t r, int64_t c, int64_t valid, float(&acc)[1][N]) {
    float d[N];
    load<Aligned>(d, d_out + r * stride + c, valid);
#pragma unroll
    for (int i = 0; i < N; ++i) acc[0][i] += d[i];
  });
}

__global__ void __launch_bounds__(128)
    add_parts_kernel(float* __restrict__ first, float* __restrict__ second, const float* __restrict__ partial,
                     int64_t parts, int64_t columns) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * 128 + threadIdx.x, width = second ? 2 * columns : columns;
  if (at >= width) return;
  float total = 0;
  for (int64_t p = 0; p < parts; ++p) total += partial[p * width + at];
  if (at < columns)
    first[at] += total;
  else
    second[at - columns] += total;
}

template <class T>
int64_t strips_of(int64_t columns) {
  return ceil_div(columns, 32 * kGroup<T>);
}

template <bool Layer, bool Aligned, class T>
cudaError_t forward(cudaStream_t s, T* out, float* mean, float* rstd, const T* x, const float* weight,
                    const float* bias, int64_t rows, int64_t columns, float eps) {
  return launch({dim3(static_cast<unsigned>(ceil_div(rows, kRows))), dim3(kRows * 32), 0, s},
                norm_forward_kernel<Layer, Aligned, T>, out, mean, rstd, x, weight, bias, rows, columns, eps);
}

template <bool Layer, bool Aligned, class T>
cudaError_t backward(cudaStream_t s, float* partial, T* d_x, float* d_weight, float* d_bias, const T* d_out, const T* x,
                     const float* weight, const float* mean, const float* rstd, int64_t rows, int64_t columns) {
  if (const cudaError_t e =
          launch({dim3(static_cast<unsigned>(ceil_div(rows, kRows))), dim3(kRows * 32), 0, s},
                 norm_backward_kernel<Layer, Aligned, T>, d_x, d_out, x, weight, mean, rstd, rows, columns))
    return e;
  const int64_t strips = strips_of<T>(columns), parts = column_parts(rows);
  if (const cudaError_t e =
          launch({dim3(static_cast<unsigned>(strips * parts)), dim3(kSumWarps * 32), 0, s},
                 norm_weights_kernel<Layer, Aligned, T>, partial, d_out, x, mean, rstd, rows, columns, strips))
    return e;
  return add_parts(s, d_weight, d_bias, partial, parts, columns);
}

}  // namespace

cudaError_t add_parts(cudaStream_t s, float* first, float* second, const float* partial, int64_t parts,
                      int64_t columns) {
  const int64_t width = second ? 2 * columns : columns;
  return launch({dim3(static_cast<unsigned>(ceil_div(width, 128))), dim3(128), 0, s}, add_parts_kernel, first, second,
                partial, parts, columns);
}

std::size_t column_sums_workspace(int sums, int64_t rows, int64_t columns) {
  return static_cast<std::size_t>(column_parts(rows) * sums * columns) * sizeof(float);
}

template <class T>
cudaError_t norm_forward(cudaStream_t s, T* out, float* mean, float* rstd, const T* x, const float* weight,
                         const float* bias, int64_t rows, int64_t columns, float eps) {
  const bool groups = aligned(x, columns, columns) && aligned(out) && aligned(weight) && (!mean || aligned(bias));
  const auto start = mean     ? groups ? forward<true, true, T> : forward<true, false, T>
                         : groups ? forward<false, true, T>
                              : forward<false, false, T>;
  return start(s, out, mean, rstd, x, weight, bias, rows, columns, eps);
}

template <class T>
cudaError_t norm_backward(cudaStream_t s, Workspace w, T* d_x, float* d_weight, float* d_bias, const T* d_out,
                          const T* x, const float* weight, const float* mean, const float* rstd, int64_t rows,
                          int64_t columns) {
  const bool groups = aligned(x, columns, columns) && aligned(d_x) && aligned(d_out) && aligned(weight);
  const auto start = mean     ? groups ? backward<true, true, T> : backward<true, false, T>
                         : groups ? backward<false, true, T>
                              : backward<false, false, T>;
  return start(s, static_cast<float*>(w.data), d_x, d_weight, d_bias, d_out, x, weight, mean, rstd, rows, columns);
}

template <class T>
cudaError_t bias_backward(cudaStream_t s, Workspace w, float* d_bias, const T* d_out, int64_t rows, int64_t columns,
                          int64_t stride) {
  const int64_t strips = strips_of<T>(columns), parts = column_parts(rows);
  auto* partial = static_cast<float*>(w.data);
  const auto kernel = aligned(d_out, columns, stride) ? bias_kernel<true, T> : bias_kernel<false, T>;
  if (const cudaError_t e = launch({dim3(static_cast<unsigned>(strips * parts)), dim3(kSumWarps * 32), 0, s}, kernel,
                                   partial, d_out, rows, columns, stride, strips))
    return e;
  return add_parts(s, d_bias, nullptr, partial, parts, columns);
}

#define BANYAN_FOR(T)                                                                                                \
  template cudaError_t norm_forward(cudaStream_t, T*, float*, float*, const T*, const float*, const float*, int64_t, \
                                    int64_t, float);                                                                 \
  template cudaError_t norm_backward(cudaStream_t, Workspace, T*, float*, float*, const T*, const T*, const float*,  \
                                     const float*, const float*, int64_t, int64_t);                                  \
  template cudaError_t bias_backward(cudaStream_t, Workspace, float*, const T*, int64_t, int64_t, int64_t);
BANYAN_FOR(float)
BANYAN_FOR(__nv_bfloat16)
#undef BANYAN_FOR

}  // namespace banyan::kernels::cuda
