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

/// Elements of the right operand that are widened at a time where a product cannot take them as they are.
inline constexpr std::int64_t kWidenedElements = std::int64_t{1} << 20;

/// Most that a product c[m,n] = a[m,k] b[k,n] of bf16 matrices holds at a time: what oneDNN's primitives ask for, or
/// widened operands with the packing of the fp32 product.
inline std::size_t bf16_packing_bytes(std::int64_t m, std::int64_t n, std::int64_t k, int threads) {
  const std::int64_t width = std::min(n, std::max<std::int64_t>(16, kWidenedElements / std::max<std::int64_t>(1, k)));
  const auto widened = static_cast<std::size_t>(m * k + width * (k + m) + 64) * sizeof(float);
  return std::max(widened + gemm_packing_bytes(m, width, k, threads),
                  (std::size_t{512} << 10) * static_cast<std::size_t>(threads));
}

}  // namespace banyan::kernels::cpu
