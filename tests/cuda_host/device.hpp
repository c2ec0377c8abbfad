// CUDA's device language for a host compiler.  Types, bf16 and the prototypes of the runtime come from CUDA's own
// headers; this adds what only nvcc and its libraries provide.  A build of kernels for the CPU includes it before all
// else (-include), because the kernels themselves do not know of it.
#pragma once
#ifdef __CUDACC__
#error "nvcc has the real thing"
#endif
#define BANYAN_CUDA_ON_HOST 1

// For a compiler that is not nvcc CUDA's headers define __shared__ away: each thread would have an object of its own.
#undef __shared__
#define __shared__ error_use_block_shared_or_dynamic_shared_instead
#define __launch_bounds__(...)

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>

#include "tests/cuda_host/emulation.hpp"

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

#define EMU_SITE ::emu::Site site = {__builtin_FILE(), __builtin_LINE()}

// ---- what kernels/cuda/portable.cuh needs
namespace banyan::kernels::cuda {

struct LaunchConfig {
  dim3 grid, block;
  std::size_t shared = 0;
  cudaStream_t stream = nullptr;
};

template <class... P, class... A>
cudaError_t launch(const LaunchConfig& c, void (*kernel)(P...), A&&... args) {
  static_assert((std::is_trivially_copyable_v<P> && ...), "kernel parameters are copied as bytes");
  const std::tuple<P...> values(static_cast<P>(args)...);  // by value, as in a real launch
  static_assert(sizeof(values) <= 4096, "kernel parameters exceed 4 KB");
  const void* pointers[sizeof...(P) + 1];
  int count = 0;
  const auto note = [&](auto x) {
    if constexpr (std::is_pointer_v<decltype(x)>) pointers[count++] = static_cast<const void*>(x);
  };
  std::apply([&](auto... v) { (note(v), ...); }, values);
  return emu::enqueue_kernel(__PRETTY_FUNCTION__, reinterpret_cast<const void*>(kernel), c.grid, c.block, c.shared,
                             c.stream, pointers, count, [kernel, values] { std::apply(kernel, values); });
}

template <class T, int Tag = 0>
T& block_shared() {
  static const char key = 0;
  return *static_cast<T*>(emu::shared_object(&key, sizeof(T), std::max<std::size_t>(16, alignof(T))));
}

template <class T>
T& dynamic_shared() {
  return *static_cast<T*>(emu::dynamic_shared_bytes(sizeof(T)));
}

}  // namespace banyan::kernels::cuda

// ---- barriers and fences
inline void __syncthreads(EMU_SITE) { emu::sync_threads(site, emu::Vote::kNone, 0); }
inline int __syncthreads_or(int p, EMU_SITE) { return emu::sync_threads(site, emu::Vote::kOr, p); }
inline int __syncthreads_and(int p, EMU_SITE) { return emu::sync_threads(site, emu::Vote::kAnd, p); }
inline int __syncthreads_count(int p, EMU_SITE) { return emu::sync_threads(site, emu::Vote::kCount, p); }
inline void __syncwarp(unsigned mask = 0xffffffffu, EMU_SITE) {
  emu::warp_exchange(emu::WarpOp::kSyncwarp, mask, 0, site);
}
inline void __threadfence() { emu::fence(); }
inline void __threadfence_block() { emu::fence(); }

// ---- warp operations
namespace emu {

template <class T>
std::uint64_t pack(T v) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  std::uint64_t u = 0;
  std::memcpy(&u, &v, sizeof v);
  return u;
}
template <class T>
T unpack(std::uint64_t u) {
  T v;
  std::memcpy(&v, &u, sizeof v);
  return v;
}

template <class T>
T shuffle(WarpOp op, unsigned mask, T v, int argument, int width, Site site) {
  const int lane = static_cast<int>(lane_id()), first = lane & ~(width - 1);
  int source = op == WarpOp::kShuffle       ? first + (argument & (width - 1))
               : op == WarpOp::kShuffleUp   ? lane - argument
               : op == WarpOp::kShuffleDown ? lane + argument
                                            : lane ^ argument;
  if (op == WarpOp::kShuffleUp ? source < first : source >= first + width) source = lane;
  const Exchange& all = warp_exchange(op, mask, pack(v), site);
  check_lane(all, op, mask, source, site);
  return unpack<T>(lane_value(all, source));
}

}  // namespace emu

template <class T>
T __shfl_sync(unsigned mask, T v, int source, int width = 32, EMU_SITE) {
  return emu::shuffle(emu::WarpOp::kShuffle, mask, v, source, width, site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, EMU_SITE) {
  return emu::shuffle(emu::WarpOp::kShuffleUp, mask, v, static_cast<int>(by), width, site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32, EMU_SITE) {
  return emu::shuffle(emu::WarpOp::kShuffleDown, mask, v, static_cast<int>(by), width, site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int with, int width = 32, EMU_SITE) {
  return emu::shuffle(emu::WarpOp::kShuffleXor, mask, v, with, width, site);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, EMU_SITE) {
  const emu::Exchange& all = emu::warp_exchange(emu::WarpOp::kBallot, mask, predicate != 0, site);
  unsigned result = 0;
  for (int i = 0; i < 32; ++i)
    if ((emu::lanes_present(all) >> i & 1) && emu::lane_value(all, i)) result |= 1u << i;
  return result;
}
inline int __any_sync(unsigned mask, int predicate, EMU_SITE) { return __ballot_sync(mask, predicate, site) != 0; }
inline int __all_sync(unsigned mask, int predicate, EMU_SITE) { return __ballot_sync(mask, predicate, site) == mask; }

// ---- asynchronous copies and tensor cores
inline void __pipeline_memcpy_async(void* to, const void* from, std::size_t bytes, EMU_SITE) {
  emu::async_copy(to, from, bytes, site);
}
inline void __pipeline_commit() { emu::async_commit(); }
inline void __pipeline_wait_prior(unsigned newest) { emu::async_wait(newest); }

namespace emu {

inline void ldmatrix(unsigned (&r)[4], const void* row, bool transposed, Site site) {
  if (!in_shared(row) || reinterpret_cast<std::uintptr_t>(row) % 16)
    fail("ldmatrix: a row is 16 bytes of shared memory, aligned", site);
  const Exchange& all = warp_exchange(WarpOp::kLdmatrix, 0xffffffffu, reinterpret_cast<std::uintptr_t>(row), site);
  if (lanes_present(all) != 0xffffffffu) fail("ldmatrix needs all lanes of a warp", site);
  const int lane = static_cast<int>(lane_id());
  for (int m = 0; m < 4; ++m) {
    std::uint32_t element[2];
    for (int e = 0; e < 2; ++e) {
      const int line = transposed ? lane % 4 * 2 + e : lane / 4, column = transposed ? lane / 4 : lane % 4 * 2 + e;
      element[e] = reinterpret_cast<const std::uint16_t*>(lane_value(all, m * 8 + line))[column];
    }
    r[m] = element[0] | element[1] << 16;
  }
}

}  // namespace emu

namespace banyan::kernels::cuda {

inline void ldmatrix_x4(unsigned (&r)[4], const void* row, EMU_SITE) { emu::ldmatrix(r, row, false, site); }
inline void ldmatrix_x4_trans(unsigned (&r)[4], const void* row, EMU_SITE) { emu::ldmatrix(r, row, true, site); }
inline void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, EMU_SITE) {
  emu::mma_m16n8k16(d, a, b0, b1, site);
}

}  // namespace banyan::kernels::cuda

// ---- atomics: relaxed as in CUDA, and real ones, so that ThreadSanitizer knows them
namespace emu {

template <class T, class F>
T atomic(T* p, F f) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  using Word = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  atomic_point();
  auto* word = reinterpret_cast<Word*>(p);
  Word old = __atomic_load_n(word, __ATOMIC_RELAXED), wanted;
  T before;
  do {
    std::memcpy(&before, &old, sizeof before);
    const T after = f(before);
    std::memcpy(&wanted, &after, sizeof after);
  } while (!__atomic_compare_exchange_n(word, &old, wanted, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return before;
}

}  // namespace emu

template <class T>
T atomicAdd(T* p, std::type_identity_t<T> v) {
  return emu::atomic(p, [v](T old) { return static_cast<T>(old + v); });
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> v) {
  return emu::atomic(p, [v](T old) { return old > v ? old : v; });
}
template <class T>
T atomicOr(T* p, std::type_identity_t<T> v) {
  return emu::atomic(p, [v](T old) { return static_cast<T>(old | v); });
}
inline unsigned atomicInc(unsigned* p, unsigned most) {
  return emu::atomic(p, [most](unsigned old) { return old >= most ? 0 : old + 1; });
}

// ---- casts and mathematics that only nvcc's library has
inline float __int_as_float(int i) { return emu::unpack<float>(static_cast<std::uint32_t>(i)); }
inline float __uint_as_float(unsigned i) { return emu::unpack<float>(i); }
inline int __float_as_int(float f) { return static_cast<int>(emu::pack(f)); }
inline unsigned __float_as_uint(float f) { return static_cast<unsigned>(emu::pack(f)); }
inline float rsqrtf(float v) { return 1.0f / std::sqrt(v); }
inline float __expf(float v) { return std::exp(v); }
inline float __logf(float v) { return std::log(v); }
inline void sincospif(float x, float* sine, float* cosine) {
  constexpr double pi = 3.14159265358979323846;
  *sine = static_cast<float>(std::sin(pi * x));
  *cosine = static_cast<float>(std::cos(pi * x));
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<std::uint64_t>(a) * b) >> 32);
}
using std::max;
using std::min;
