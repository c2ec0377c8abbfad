// What kernels use instead of the parts of CUDA that only nvcc understands: <<<>>>, static and dynamic __shared__.
// Under nvcc it costs nothing.  A host compiler gets the same functions, and CUDA's device language, from whoever
// builds for it, before this header (tests/cuda_host executes the kernels so).  The rules for kernels: README.md.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#ifdef __CUDACC__

namespace banyan::kernels::cuda {

struct LaunchConfig {
  dim3 grid, block;
  std::size_t shared = 0;  ///< bytes of dynamic shared memory
  cudaStream_t stream = nullptr;
};

/// Starts a kernel.  Its parameters are trivially copyable, and no pointer hides in a struct.
template <class... P, class... A>
inline cudaError_t launch(const LaunchConfig& c, void (*kernel)(P...), A&&... args) {
  kernel<<<c.grid, c.block, c.shared, c.stream>>>(static_cast<P>(args)...);
  return cudaGetLastError();
}

/// One object of type T in shared memory per block and per (T, Tag).  Uninitialised.
template <class T, int Tag = 0>
__device__ __forceinline__ T& block_shared() {
  __shared__ T object;
  return object;
}

/// The dynamic shared memory of the launch.  Uninitialised.
template <class T>
__device__ __forceinline__ T& dynamic_shared() {
  extern __shared__ __align__(128) unsigned char dynamic_shared_bytes[];
  return *reinterpret_cast<T*>(dynamic_shared_bytes);
}

}  // namespace banyan::kernels::cuda

#elif !defined(BANYAN_CUDA_ON_HOST)
#error "a host compiler needs CUDA's device language first: -include tests/cuda_host/device.hpp"
#endif

namespace banyan::kernels::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;

/// launch() of a kernel whose dynamic shared memory is one T, which may be larger than the 48 KB that a kernel has unasked.
template <class T, class... P, class... A>
inline cudaError_t launch_with(dim3 grid, dim3 block, cudaStream_t stream, void (*kernel)(P...), A&&... args) {
  if (sizeof(T) > std::size_t{48} * 1024)
    if (const cudaError_t e =
            cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(sizeof(T))))
      return e;
  return launch({grid, block, sizeof(T), stream}, kernel, static_cast<P>(args)...);
}

/// The sum over a warp, on every lane; all lanes must come here.  The order is the same for every lane.
__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (int other = 16; other > 0; other /= 2) v += __shfl_xor_sync(kAllLanes, v, other);
  return v;
}

__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
  for (int other = 16; other > 0; other /= 2) v = fmaxf(v, __shfl_xor_sync(kAllLanes, v, other));
  return v;
}

__host__ __device__ constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace banyan::kernels::cuda
