// What kernels use instead of the parts of CUDA that only nvcc understands: <<<>>>, static and dynamic __shared__.
// Under nvcc it costs nothing.  A host compiler gets the same functions, and CUDA's device language, from whoever
// builds for it, before this header (tests/cuda_host executes the kernels so).  The rules for kernels: README.md.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#ifdef __CUDACC__

#include <cuda_pipeline_primitives.h>

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

/// Four 8 x 8 matrices of 16-bit elements in shared memory, one a register: lane l gives the address of row l % 8 of
/// matrix l / 8, 16 bytes aligned, and gets of each matrix two neighbours of row l / 4 (columns l % 4 * 2 and the next).
__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
               : "memory");
}
/// The same of the transposed matrices.
__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
               : "memory");
}
/// d [16, 8] += a [16, 16] b [16, 8] by a whole warp; bf16, sums in fp32 (PTX ISA, "Matrix Fragments for mma.m16n8k16").
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
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
