// Narrow weights: rounding to them, looking them up, and their products with a few fp32 rows; and what products of
// cuBLASLt need beside: biases in bf16, rows of one value.
//
// A narrow row is bf16, or integers with a scale behind them for every 64 of them (kernels/backend.hpp).
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/ops.hpp"

namespace banyan::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kChunk = 4;  // weights that a lane reads at once

static_assert(kScaledTogether % kChunk == 0, "a chunk has one scale");

/// Reads weights k .. k + kChunk of a row; Aligned: with one instruction, where all of them are there.
struct Bf16Weights {
  template <bool Aligned>
  static __device__ void read(float (&w)[kChunk], const unsigned char* row, int64_t columns, int64_t k) {
    const auto* p = reinterpret_cast<const bf16*>(row) + k;
    if (Aligned && k + kChunk <= columns) {
      const uint2 raw = *reinterpret_cast<const uint2*>(p);
      w[0] = __uint_as_float(raw.x << 16);
      w[1] = __uint_as_float(raw.x & 0xffff0000u);
      w[2] = __uint_as_float(raw.y << 16);
      w[3] = __uint_as_float(raw.y & 0xffff0000u);
    } else {
      load<false>(w, p, columns - k);
    }
  }
};
struct I8Weights {
  template <bool Aligned>
  static __device__ void read(float (&w)[kChunk], const unsigned char* row, int64_t columns, int64_t k) {
    const float scale = reinterpret_cast<const float*>(row + (columns + 3) / 4 * 4)[k / kScaledTogether];
    // Always one instruction: rows begin at multiples of four bytes, and integers are padded to them.
    const unsigned raw = *reinterpret_cast<const unsigned*>(row + k);
#pragma unroll
    for (int i = 0; i < kChunk; ++i)
      w[i] = k + i < columns ? static_cast<float>(static_cast<signed char>(raw >> 8 * i)) * scale : 0.0f;
  }
};

template <class Weights>
__global__ void __launch_bounds__(kThreads)
    look_up_kernel(float* __restrict__ out, const int* __restrict__ tokens, const unsigned char* __restrict__ table,
                   int64_t rows, int64_t vocab, int64_t columns, int64_t row_bytes, int64_t vocab_begin) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  const int64_t t = tokens[row] - vocab_begin;
  const bool here = t >= 0 && t < vocab;
  for (int64_t c = threadIdx.x % 32 * kChunk; c < columns; c += 32 * kChunk) {
    float w[kChunk] = {};
    if (here) Weights::template read<false>(w, table + t * row_bytes, columns, c);
    store<false>(out + row * columns + c, w, columns - c);
  }
}

/// Rows of a that meet a row of weights while it is in registers.
constexpr int kRows = 8;

/// A warp to a row of weights: c[r, n] = bias[n] + sum over k of a[r, k] b[n, k] for kRows rows.
template <bool Aligned, class Weights>
__global__ void __launch_bounds__(kThreads)
    narrow_product_kernel(float* __restrict__ c, const float* __restrict__ a, const unsigned char* __restrict__ b,
                          const float* __restrict__ bias, int64_t rows, int64_t columns, int64_t inner,
                          int64_t a_stride, int64_t c_stride, int64_t row_bytes, int64_t blocks) {
  const int64_t n = blockIdx.x % blocks * kWarps + threadIdx.x / 32;
  if (n >= columns) return;
  const int64_t row0 = blockIdx.x / blocks * kRows;
  const int count = static_cast<int>(min(int64_t{kRows}, rows - row0));
  const float* from = a + row0 * a_stride;
  float sums[kRows] = {};
  for (int64_t k = threadIdx.x % 32 * kChunk; k < inner; k += 32 * kChunk) {
    float w[kChunk], x[kChunk];
    Weights::template read<Aligned>(w, b + n * row_bytes, inner, k);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (r >= count) break;
      if (Aligned && k + kChunk <= inner)
        load<true>(x, from + r * a_stride + k, kChunk);
      else
        load<false>(x, from + r * a_stride + k, inner - k);
#pragma unroll
      for (int i = 0; i < kChunk; ++i) sums[r] += x[i] * w[i];
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const float sum = warp_sum(sums[r]);
    if (r < count && threadIdx.x % 32 == 0) c[(row0 + r) * c_stride + n] = (bias ? bias[n] : 0.0f) + sum;
  }
}

__global__ void __launch_bounds__(kThreads)
    round_kernel(bf16* __restrict__ out, const float* __restrict__ in, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) out[i] = from_float<bf16>(in[i]);
}

__global__ void __launch_bounds__(kThreads)
    widen_kernel(float* __restrict__ out, const bf16* __restrict__ in, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) out[i] = to_float(in[i]);
}

/// A warp to a group of integers.
__global__ void __launch_bounds__(kThreads)
    quantize_kernel(unsigned char* __restrict__ out, const float* __restrict__ in, int64_t groups, int64_t columns,
                    int64_t row_bytes, int64_t groups_of_row) {
  constexpr float kLargestInteger = 127;
  const int64_t group = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (group >= groups) return;
  const int64_t row = group / groups_of_row, g = group % groups_of_row;
  const int64_t begin = g * kScaledTogether, end = min(columns, begin + kScaledTogether);
  const float* from = in + row * columns;
  float largest = 0;
  for (int64_t k = begin + threadIdx.x % 32; k < end; k += 32) largest = fmaxf(largest, fabsf(from[k]));
  largest = warp_max(largest);
  const float inverse = largest > 0 ? kLargestInteger / largest : 0.0f;
  unsigned char* to = out + row * row_bytes;
  for (int64_t k = begin + threadIdx.x % 32; k < end; k += 32) {
    const float rounded = fminf(fmaxf(rintf(from[k] * inverse), -kLargestInteger), kLargestInteger);
    to[k] = static_cast<unsigned char>(static_cast<signed char>(rounded));
  }
  if (threadIdx.x % 32 != 0) return;
  reinterpret_cast<float*>(to + (columns + 3) / 4 * 4)[g] = largest / kLargestInteger;
  // The padding, which nobody reads as a weight, is not left as it was: copies and checksums see it.
  if (g + 1 == groups_of_row)
    for (int64_t k = columns; k % 4; ++k) to[k] = 0;
}

template <class T>
__global__ void __launch_bounds__(kThreads) fill_rows_kernel(T* __restrict__ out, const float* __restrict__ values,
                                                             int64_t columns, int64_t stride, int64_t blocks) {
  const int64_t row = blockIdx.x / blocks, column = blockIdx.x % blocks * kThreads + threadIdx.x;
  if (column < columns) out[row * stride + column] = from_float<T>(values ? values[column] : 0.0f);
}

dim3 blocks_for(int64_t items, int64_t of_a_block) { return dim3(static_cast<unsigned>(ceil_div(items, of_a_block))); }

}  // namespace

cudaError_t embedding_forward_narrow(cudaStream_t s, float* out, const int* tokens, NarrowMatrix table, int64_t rows,
                                     int64_t vocab, int64_t columns, int64_t vocab_begin) {
  return launch({blocks_for(rows, kWarps), dim3(kThreads), 0, s},
                table.integers ? look_up_kernel<I8Weights> : look_up_kernel<Bf16Weights>, out, tokens, table.data, rows,
                vocab, columns, table.row_bytes, vocab_begin);
}

cudaError_t product_narrow(cudaStream_t s, float* c, const float* a, NarrowMatrix b, const float* bias, int64_t rows,
                           int64_t columns, int64_t inner, int64_t a_stride, int64_t c_stride) {
  const bool groups = aligned(a) && a_stride % kGroup<float> == 0 &&
                      (b.integers || (reinterpret_cast<std::uintptr_t>(b.data) % 8 == 0 && b.row_bytes % 8 == 0));
  const int64_t blocks = ceil_div(columns, kWarps);
  return launch({dim3(static_cast<unsigned>(blocks * ceil_div(rows, kRows))), dim3(kThreads), 0, s},
                b.integers ? groups ? narrow_product_kernel<true, I8Weights> : narrow_product_kernel<false, I8Weights>
                : groups ? narrow_product_kernel<true, Bf16Weights>
                           : narrow_product_kernel<false, Bf16Weights>,
                c, a, b.data, bias, rows, columns, inner, a_stride, c_stride, b.row_bytes, blocks);
}

cudaError_t round_to_bf16(cudaStream_t s, bf16* out, const float* in, int64_t count) {
  return launch({blocks_for(count, kThreads), dim3(kThreads), 0, s}, round_kernel, out, in, count);
}

cudaError_t widen_bf16(cudaStream_t s, float* out, const bf16* in, int64_t count) {
  return launch({blocks_for(count, kThreads), dim3(kThreads), 0, s}, widen_kernel, out, in, count);
}

cudaError_t quantize(cudaStream_t s, unsigned char* out, const float* in, int64_t rows, int64_t columns,
                     int64_t row_bytes) {
  const int64_t groups = ceil_div(columns, kScaledTogether);
  return launch({blocks_for(rows * groups, kWarps), dim3(kThreads), 0, s}, quantize_kernel, out, in, rows * groups,
                columns, row_bytes, groups);
}

template <class T>
cudaError_t fill_rows(cudaStream_t s, T* out, const float* values, int64_t rows, int64_t columns, int64_t stride) {
  const int64_t blocks = ceil_div(columns, kThreads);
  return launch({dim3(static_cast<unsigned>(rows * blocks)), dim3(kThreads), 0, s}, fill_rows_kernel<T>, out, values,
                columns, stride, blocks);
}
template cudaError_t fill_rows(cudaStream_t, float*, const float*, int64_t, int64_t, int64_t);
template cudaError_t fill_rows(cudaStream_t, bf16*, const float*, int64_t, int64_t, int64_t);

}  // namespace banyan::kernels::cuda
