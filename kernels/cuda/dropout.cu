// Dropout of a matrix, with the masks of src/base/rng.hpp: the same bits as on the CPU.  Its backward pass is the same
// call.
#include <cmath>

#include "kernels/cuda/element.cuh"
#include "kernels/cuda/ops.hpp"
#include "src/base/rng.hpp"

namespace banyan::kernels::cuda {
namespace {

constexpr int kThreads = 128;

/// A thread has one block of the generator: four channels whose global number begins at a multiple of four.
template <class T>
__global__ void __launch_bounds__(kThreads)
    dropout_kernel(T* out, const T* x, std::uint64_t key, const int64_t* __restrict__ sample,
                   const int* __restrict__ position, int64_t channel0, int64_t columns, int64_t blocks_per_row,
                   unsigned least_kept, float factor) {
  const int64_t row = blockIdx.x / blocks_per_row;
  const int64_t quad =
      channel0 / 4 + (static_cast<int64_t>(blockIdx.x) - row * blocks_per_row) * kThreads + threadIdx.x;
  const int64_t first = quad * 4 - channel0;  // column of the block's first channel; may lie before the matrix
  if (first >= columns) return;
  const rng::Block bits = rng::quad(key, sample[row], position[row], quad);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int64_t c = first + i;
    if (c < 0 || c >= columns) continue;
    const float kept = bits[static_cast<std::size_t>(i)] >= least_kept ? factor : 0.0f;
    out[row * columns + c] = from_float<T>(to_float(x[row * columns + c]) * kept);
  }
}

}  // namespace

template <class T>
cudaError_t dropout(cudaStream_t s, T* out, const T* x, float p, std::uint64_t key, const int64_t* sample,
                    const int* position, int64_t channel0, int64_t rows, int64_t columns) {
  // uniform(bits) >= p means (bits >> 8) * 2^-24 >= p: a comparison of integers.
  const auto least_kept = static_cast<unsigned>(std::ceil(static_cast<double>(p) * 0x1p24)) << 8;
  const int64_t blocks = ceil_div((channel0 + columns - 1) / 4 - channel0 / 4 + 1, kThreads);
  return launch({dim3(static_cast<unsigned>(rows * blocks)), dim3(kThreads), 0, s}, dropout_kernel<T>, out, x, key,
                sample, position, channel0, columns, blocks, least_kept, 1.0f / (1.0f - p));
}

template cudaError_t dropout(cudaStream_t, float*, const float*, float, std::uint64_t, const int64_t*, const int*,
                             int64_t, int64_t, int64_t);
template cudaError_t dropout(cudaStream_t, __nv_bfloat16*, const __nv_bfloat16*, float, std::uint64_t, const int64_t*,
                             const int*, int64_t, int64_t, int64_t);

}  // namespace banyan::kernels::cuda
