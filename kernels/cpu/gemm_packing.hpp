// The memory oneDNN's GEMM packs its operands into during a call.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace banyan::kernels::cpu {

/// Most that one call c[m,n] = a[m,k] b[k,n] holds at a time, summed over the threads.  oneDNN 2.6 packs blocks of at
/// most 384 of k by 9984 of n for one operand and 384 of k by 384 of m for the other.
inline std::size_t gemm_packing_bytes(std::int64_t m, std::int64_t n, std::int64_t k, int threads) {
  const std::int64_t depth = std::min<std::int64_t>(k, 384) + 16;
  const std::int64_t block = depth * (std::min<std::int64_t>(n, 9984) + 64 + std::min<std::int64_t>(m, 384) + 64);
  return static_cast<std::size_t>(block) * sizeof(float) * static_cast<std::size_t>(threads);
}

}  // namespace banyan::kernels::cpu
