// Elements in memory, fp32 or bf16, as floats in registers.
//
// A thread works on a group: the elements of 16 bytes, which one instruction reads where they are aligned.  Which
// thread has which elements never depends on alignment, only how it reads them: results are the same at all addresses.
#pragma once

#include <type_traits>

#include "kernels/cuda/portable.cuh"

namespace banyan::kernels::cuda {

using bf16 = __nv_bfloat16;

template <class T>
inline constexpr int kGroup = 16 / static_cast<int>(sizeof(T));

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __bfloat162float(x); }

template <class T>
__device__ __forceinline__ T from_float(float x) {
  if constexpr (std::is_same_v<T, bf16>)
    return __float2bfloat16(x);
  else
    return x;
}

/// f = p[0..N); what lies at or behind `valid` is not read and zero.  Aligned: all of it is valid and p a multiple of
/// 16 bytes.
template <bool Aligned, int N, class T>
__device__ __forceinline__ void load(float (&f)[N], const T* p, std::int64_t valid) {
  if constexpr (Aligned) {
    static_assert(N % kGroup<T> == 0);
#pragma unroll
    for (int k = 0; k < N / kGroup<T>; ++k) {
      const uint4 raw = reinterpret_cast<const uint4*>(p)[k];
      const unsigned word[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        if constexpr (std::is_same_v<T, float>) {
          f[k * 4 + w] = __uint_as_float(word[w]);
        } else {
          f[k * 8 + 2 * w] = __uint_as_float(word[w] << 16);
          f[k * 8 + 2 * w + 1] = __uint_as_float(word[w] & 0xffff0000u);
        }
      }
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) f[i] = i < valid ? to_float(p[i]) : 0.0f;
  }
}

/// p[0..N) = f, below `valid` only.
template <bool Aligned, int N, class T>
__device__ __forceinline__ void store(T* p, const float (&f)[N], std::int64_t valid) {
  if constexpr (Aligned) {
    static_assert(N % kGroup<T> == 0);
#pragma unroll
    for (int k = 0; k < N / kGroup<T>; ++k) {
      unsigned word[4];
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        if constexpr (std::is_same_v<T, float>) {
          word[w] = __float_as_uint(f[k * 4 + w]);
        } else {
          const unsigned low = __bfloat16_as_ushort(__float2bfloat16(f[k * 8 + 2 * w]));
          const unsigned high = __bfloat16_as_ushort(__float2bfloat16(f[k * 8 + 2 * w + 1]));
          word[w] = low | high << 16;
        }
      }
      reinterpret_cast<uint4*>(p)[k] = make_uint4(word[0], word[1], word[2], word[3]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i)
      if (i < valid) p[i] = from_float<T>(f[i]);
  }
}

/// Whether a pointer can be read in groups.
inline bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }
/// The same of the rows of a matrix.
template <class T>
bool aligned(const T* p, std::int64_t columns, std::int64_t stride) {
  return aligned(p) && columns % kGroup<T> == 0 && stride % kGroup<T> == 0;
}

}  // namespace banyan::kernels::cuda
