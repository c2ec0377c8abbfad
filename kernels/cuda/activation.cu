// GELU (tanh form), SwiGLU, addition, scaling.
//
// 0.5 x (1 + tanh u) = x / (1 + e^(-2u)): the same function as a sigmoid, which keeps its relative precision where tanh
// is close to -1.
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/ops.hpp"

namespace banyan::kernels::cuda {
namespace {

constexpr int kThreads = 128;

constexpr float kA = 1.59576912f;    // 2 sqrt(2/pi)
constexpr float kB = 0.0713548163f;  // 0.044715 * kA
constexpr float k3B = 0.214064449f;  // derivative of kB x^3

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

struct Gelu {
  __device__ float operator()(float x, float) const { return x * sigmoid(x * (kA + kB * x * x)); }
};
struct GeluSlope {  // d_out, x
  __device__ float operator()(float d, float x) const {
    const float s = sigmoid(x * (kA + kB * x * x));
    return d * (s + x * s * (1.0f - s) * (kA + k3B * x * x));
  }
};
struct Add {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct Scale {
  float factor;
  __device__ float operator()(float x, float) const { return x * factor; }
};

/// out = op(a, b), element by element; with Inputs = 1 b is not read.
template <int Inputs, bool Aligned, class Op, class T>
__global__ void __launch_bounds__(kThreads) flat_kernel(T* out, const T* a, const T* b, int64_t count, Op op) {
  constexpr int N = kGroup<T>;
  const int64_t at = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * N;
  if (at >= count) return;
  const int64_t valid = count - at;
  float f[N], g[N] = {};
  if (Aligned && valid >= N) {
    load<true>(f, a + at, N);
    if constexpr (Inputs == 2) load<true>(g, b + at, N);
  } else {
    load<false>(f, a + at, valid);
    if constexpr (Inputs == 2) load<false>(g, b + at, valid);
  }
#pragma unroll
  for (int i = 0; i < N; ++i) f[i] = op(f[i], g[i]);
  if (Aligned && valid >= N)
    store<true>(out + at, f, N);
  else
    store<false>(out + at, f, valid);
}

template <int Inputs, class Op, class T>
cudaError_t flat(cudaStream_t s, T* out, const T* a, const T* b, int64_t count, Op op) {
  const bool groups = aligned(out) && aligned(a) && (Inputs == 1 || aligned(b));
  const auto kernel = groups ? flat_kernel<Inputs, true, Op, T> : flat_kernel<Inputs, false, Op, T>;
  return launch({dim3(static_cast<unsigned>(ceil_div(count, int64_t{kThreads} * kGroup<T>))), dim3(kThreads), 0, s},
                kernel, out, a, b, count, op);
}

/// Which group of a matrix the calling thread has: a row is cut into blocks.
template <int N>
struct Place {
  int64_t row, column;
  __device__ explicit Place(int64_t blocks_per_row)
      : row(blockIdx.x / blocks_per_row), column(((blockIdx.x - row * blocks_per_row) * kThreads + threadIdx.x) * N) {}
};

template <class T>
int64_t blocks_per_row(int64_t columns) {
  return ceil_div(columns, int64_t{kThreads} * kGroup<T>);
}

template <bool Aligned, class T>
__global__ void __launch_bounds__(kThreads)
    swiglu_forward_kernel(T* __restrict__ out, const T* __restrict__ gate, const T* __restrict__ up, int64_t columns,
                          int64_t gate_stride, int64_t up_stride, int64_t blocks) {
  constexpr int N = kGroup<T>;
  const Place<N> at(blocks);
  if (at.column >= columns) return;
  const int64_t valid = columns - at.column;
  float g[N], u[N];
  load<Aligned>(g, gate + at.row * gate_stride + at.column, valid);
  load<Aligned>(u, up + at.row * up_stride + at.column, valid);
#pragma unroll
  for (int i = 0; i < N; ++i) g[i] = g[i] * sigmoid(g[i]) * u[i];
  store<Aligned>(out + at.row * columns + at.column, g, valid);
}

template <bool Aligned, class T>
__global__ void __launch_bounds__(kThreads)
    swiglu_backward_kernel(T* __restrict__ d_gate, T* __restrict__ d_up, const T* __restrict__ d_out,
                           const T* __restrict__ gate, const T* __restrict__ up, int64_t columns, int64_t d_gate_stride,
                           int64_t d_up_stride, int64_t gate_stride, int64_t up_stride, int64_t blocks) {
  constexpr int N = kGroup<T>;
  const Place<N> at(blocks);
  if (at.column >= columns) return;
  const int64_t valid = columns - at.column;
  float g[N], u[N], d[N];
  load<Aligned>(g, gate + at.row * gate_stride + at.column, valid);
  load<Aligned>(u, up + at.row * up_stride + at.column, valid);
  load<Aligned>(d, d_out + at.row * columns + at.column, valid);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float s = sigmoid(g[i]), to_gate = d[i] * u[i] * s * (1.0f + g[i] * (1.0f - s));
    u[i] = d[i] * g[i] * s;
    g[i] = to_gate;
  }
  store<Aligned>(d_gate + at.row * d_gate_stride + at.column, g, valid);
  store<Aligned>(d_up + at.row * d_up_stride + at.column, u, valid);
}

}  // namespace

template <class T>
cudaError_t gelu_forward(cudaStream_t s, T* out, const T* x, int64_t count) {
  return flat<1>(s, out, x, x, count, Gelu{});
}
template <class T>
cudaError_t gelu_backward(cudaStream_t s, T* d_x, const T* d_out, const T* x, int64_t count) {
  return flat<2>(s, d_x, d_out, x, count, GeluSlope{});
}
template <class T>
cudaError_t add(cudaStream_t s, T* out, const T* a, const T* b, int64_t count) {
  return flat<2>(s, out, a, b, count, Add{});
}
cudaError_t scale(cudaStream_t s, float* x, float factor, int64_t count) {
  const float* in = x;
  return flat<1>(s, x, in, in, count, Scale{factor});
}

template <class T>
cudaError_t swiglu_forward(cudaStream_t s, T* out, const T* gate, const T* up, int64_t rows, int64_t columns,
                           int64_t gate_stride, int64_t up_stride) {
  const bool groups = aligned(gate, columns, gate_stride) && aligned(up, columns, up_stride) && aligned(out);
  const int64_t blocks = blocks_per_row<T>(columns);
  return launch({dim3(static_cast<unsigned>(rows * blocks)), dim3(kThreads), 0, s},
                groups ? swiglu_forward_kernel<true, T> : swiglu_forward_kernel<false, T>, out, gate, up, columns,
                gate_stride, up_stride, blocks);
}
template <class T>
cudaError_t swiglu_backward(cudaStream_t s, T* d_gate, T* d_up, const T* d_out, const T* gate, const T* up,
                            int64_t rows, int64_t columns, int64_t d_gate_stride, int64_t d_up_stride,
                            int64_t gate_stride, int64_t up_stride) {
  const bool groups = aligned(gate, columns, gate_stride) && aligned(up, columns, up_stride) &&
                      aligned(d_gate, columns, d_gate_stride) && aligned(d_up, columns, d_up_stride) && aligned(d_out);
  const int64_t blocks = blocks_per_row<T>(columns);
  return launch({dim3(static_cast<unsigned>(rows * blocks)), dim3(kThreads), 0, s},
                groups ? swiglu_backward_kernel<true, T> : swiglu_backward_kernel<false, T>, d_gate, d_up, d_out, gate,
                up, columns, d_gate_stride, d_up_stride, gate_stride, up_stride, blocks);
}

#define BANYAN_FOR(T)                                                                                                 \
  template cudaError_t gelu_forward(cudaStream_t, T*, const T*, int64_t);                                             \
  template cudaError_t gelu_backward(cudaStream_t, T*, const T*, const T*, int64_t);                                  \
  template cudaError_t add(cudaStream_t, T*, const T*, const T*, int64_t);                                            \
  template cudaError_t swiglu_forward(cudaStream_t, T*, const T*, const T*, int64_t, int64_t, int64_t, int64_t);      \
  template cudaError_t swiglu_backward(cudaStream_t, T*, T*, const T*, const T*, const T*, int64_t, int64_t, int64_t, \
                                       int64_t, int64_t, int64_t);
BANYAN_FOR(float)
BANYAN_FOR(__nv_bfloat16)
#undef BANYAN_FOR

}  // namespace banyan::kernels::cuda
