// Looking up rows of a table and adding gradients back to them.
//
// Rows of a microbatch may hit the same token.  Adding them with atomics would make the order that of the clock;
// instead each row learns which later row has its token, and whether an earlier one has, and the first of each token
// walks the chain: every sum runs in the order of the rows, as on the CPU.
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/ops.hpp"

namespace banyan::kernels::cuda {
namespace {

constexpr int kThreads = 256;

template <bool Aligned, class T>
__global__ void __launch_bounds__(kThreads)
    embedding_forward_kernel(T* __restrict__ out, const int* __restrict__ tokens, const T* __restrict__ table,
                             int64_t rows, int64_t vocab, int64_t columns, int64_t vocab_begin) {
  constexpr int N = kGroup<T>;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (row >= rows) return;
  const int64_t t = tokens[row] - vocab_begin;
  const bool here = t >= 0 && t < vocab;
  for (int64_t c = threadIdx.x % 32 * N; c < columns; c += 32 * N) {
    float f[N] = {};
    if (here) load<Aligned>(f, table + t * columns + c, columns - c);
    store<Aligned>(out + row * columns + c, f, columns - c);
  }
}

template <bool Aligned, class T>
__global__ void __launch_bounds__(kThreads)
    position_forward_kernel(T* __restrict__ x, const int* __restrict__ position, const float* __restrict__ table,
                            int64_t rows, int64_t positions, int64_t columns) {
  constexpr int N = kGroup<T>;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (row >= rows) return;
  const int64_t p = position[row];
  const bool here = p >= 0 && p < positions;
  for (int64_t c = threadIdx.x % 32 * N; c < columns; c += 32 * N) {
    float f[N], g[N];
    load<Aligned>(f, x + row * columns + c, columns - c);
    if (here) load<Aligned>(g, table + p * columns + c, columns - c);
#pragma unroll
    for (int i = 0; i < N; ++i) f[i] = here ? f[i] + g[i] : __uint_as_float(0x7fc00000u);
    store<Aligned>(x + row * columns + c, f, columns - c);
  }
}

constexpr int kNone = -1;

/// next[r] = the first row behind r with its token, or kNone;  first[r] = 1 when no earlier row has it.
__global__ void __launch_bounds__(kThreads)
    chain_kernel(int* __restrict__ next, int* __restrict__ first, const int* __restrict__ tokens, int rows) {
  auto& some = block_shared<int[kThreads]>();
  const int row = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  const int mine = row < rows ? tokens[row] : 0;
  int later = kNone, earlier = 0;
  for (int begin = 0; begin < rows; begin += kThreads) {
    const int n = min(kThreads, rows - begin);
    __syncthreads();  // the tokens before have been read
    if (static_cast<int>(threadIdx.x) < n) some[threadIdx.x] = tokens[begin + static_cast<int>(threadIdx.x)];
    __syncthreads();
    for (int i = 0; i < n; ++i) {
      if (some[i] != mine) continue;
      if (begin + i < row) earlier = 1;
      if (begin + i > row && later == kNone) later = begin + i;
    }
  }
  if (row >= rows) return;
  next[row] = later;
  first[row] = earlier ? 0 : 1;
}

/// One warp for each row and strip of 32 groups; those of rows that are not the first of their token have nothing to
/// do.
template <bool Aligned, class T>
__global__ void __launch_bounds__(kThreads)
    embedding_backward_kernel(float* __restrict__ d_table, const int* __restrict__ tokens, const T* __restrict__ d_out,
                              const int* __restrict__ next, const int* __restrict__ first, int64_t rows, int64_t vocab,
                              int64_t columns, int64_t vocab_begin, int64_t strips) {
  constexpr int N = kGroup<T>;
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  const int64_t row = warp / strips, c = (warp % strips * 32 + threadIdx.x % 32) * N;
  if (row >= rows || c >= columns || !first[row]) return;
  const int64_t t = tokens[row] - vocab_begin;
  if (t < 0 || t >= vocab) return;
  float sum[N], f[N];
  load<Aligned>(sum, d_table + t * columns + c, columns - c);
  for (int64_t r = row; r != kNone; r = next[r]) {
    load<Aligned>(f, d_out + r * columns + c, columns - c);
#pragma unroll
    for (int i = 0; i < N; ++i) sum[i] += f[i];
  }
  store<Aligned>(d_table + t * columns + c, sum, columns - c);
}

dim3 blocks_of(int64_t warps) { return dim3(static_cast<unsigned>(ceil_div(warps, kThreads / 32))); }

}  // namespace

template <class T>
cudaError_t embedding_forward(cudaStream_t s, T* out, const int* tokens, const T* table, int64_t rows, int64_t vocab,
                              int64_t columns, int64_t vocab_begin) {
  const bool groups = aligned(table, columns, columns) && aligned(out);
  return launch({blocks_of(rows), dim3(kThreads), 0, s},
                groups ? embedding_forward_kernel<true, T> : embedding_forward_kernel<false, T>, out, tokens, table,
                rows, vocab, columns, vocab_begin);
}

template <class T>
cudaError_t position_forward(cudaStream_t s, T* x, const int* position, const float* table, int64_t rows,
                             int64_t positions, int64_t columns) {
  const bool groups = aligned(x, columns, columns) && aligned(table);
  return launch({blocks_of(rows), dim3(kThreads), 0, s},
                groups ? position_forward_kernel<true, T> : position_forward_kernel<false, T>, x, position, table, rows,
                positions, columns);
}

std::size_t embedding_backward_workspace(int64_t rows) { return static_cast<std::size_t>(2 * rows) * sizeof(int); }

template <class T>
cudaError_t embedding_backward(cudaStream_t s, Workspace w, float* d_table, const int* tokens, const T* d_out,
                               int64_t rows, int64_t vocab, int64_t columns, int64_t vocab_begin) {
  int *next = static_cast<int*>(w.data), *first = next + rows;
  if (const cudaError_t e = launch({dim3(static_cast<unsigned>(ceil_div(rows, kThreads))), dim3(kThreads), 0, s},
                                   chain_kernel, next, first, tokens, rows))
    return e;
  const bool groups = aligned(d_out, columns, columns) && aligned(d_table);
  const int64_t strips = ceil_div(columns, 32 * kGroup<T>);
  return launch({blocks_of(rows * strips), dim3(kThreads), 0, s},
                groups ? embedding_backward_kernel<true, T> : embedding_backward_kernel<false, T>, d_table, tokens,
                d_out, next, first, rows, vocab, columns, vocab_begin, strips);
}

#define BANYAN_FOR(T)                                                                                                 \
  template cudaError_t embedding_forward(cudaStream_t, T*, const int*, const T*, int64_t, int64_t, int64_t, int64_t); \
  template cudaError_t position_forward(cudaStream_t, T*, const int*, const float*, int64_t, int64_t, int64_t);       \
  template cudaError_t embedding_backward(cudaStream_t, Workspace, float*, const int*, const T*, int64_t, int64_t,    \
                                          int64_t, int64_t);
BANYAN_FOR(float)
BANYAN_FOR(__nv_bfloat16)
#undef BANYAN_FOR

}  // namespace banyan::kernels::cuda
