// exp and what is made of it, without branches, for loops under `#pragma omp simd`.  Only fused multiply-adds and exact
// operations: the same bits for every vector width.  Always inline, because a call that stays one keeps its loop from
// becoming vectors.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace banyan::kernels::cpu {

/// e^x within 1 ulp or so; below 2^-125.5 zero, above the largest float infinity, NaN stays NaN.
/// x = n ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor polynomial of degree 7, whose error there is below 2^-27.
[[gnu::always_inline]] inline float exp_simd(float x) {
  // Written so that NaN passes and each line is one instruction.
  const float from_below = -87.33654f > x ? -87.33654f : x;
  const float bounded = 89.0f < from_below ? 89.0f : from_below;
  const float shifted = std::fma(bounded, 1.44269504f, 12582912.0f);  // 1.5 * 2^23: an integer in the low bits
  const float n = shifted - 12582912.0f;
  float r = std::fma(n, -0.693145752f, bounded);  // ln 2 in two parts; the product with the first is exact
  r = std::fma(n, -1.42860677e-6f, r);
  float p = std::fma(r, 1.98412698e-4f, 1.38888889e-3f);
  p = std::fma(p, r, 8.33333333e-3f);
  p = std::fma(p, r, 4.16666667e-2f);
  p = std::fma(p, r, 1.66666667e-1f);
  p = std::fma(p, r, 0.5f);
  p = std::fma(p, r, 1.0f);
  p = std::fma(p, r, 1.0f);
  // 2^n in two steps, because 2^128 is no float; the lowest n, -126, gives zero.
  const std::uint32_t half = (std::bit_cast<std::uint32_t>(shifted) + 126u) << 23;
  return p * std::bit_cast<float>(half) * 2.0f;
}

/// 1 / (1 + e^-x).
[[gnu::always_inline]] inline float sigmoid_simd(float x) { return 1.0f / (1.0f + exp_simd(-x)); }

}  // namespace banyan::kernels::cpu
