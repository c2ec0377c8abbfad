// Dropout factors of consecutive channels of a row, by the counter RNG of src/base/rng.hpp, in vectors.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/backend.hpp"
#include "src/base/rng.hpp"

namespace banyan::kernels::cpu {

/// What turns a dropout's description into factors.
class DropoutMask {
 public:
  explicit DropoutMask(const Dropout& d)
      : d_(d),
        keep_(1.0f / (1.0f - d.p)),
        // uniform(bits) >= p means (bits >> 8) * 2^-24 >= p: a comparison of integers.
        least_kept_(static_cast<std::uint32_t>(std::ceil(static_cast<double>(d.p) * 0x1p24)) << 8) {}

  /// factors[i] = 0 or 1/(1-p) for channel0 + first + i of row r, i in [0, count).
  void row(std::int64_t r, std::int64_t first, std::int64_t count, float* factors) const {
    const auto index = static_cast<std::size_t>(r);
    const std::int64_t sample = d_.sample[index], position = d_.position[index];
    const std::int64_t begin = d_.channel0 + first, end = begin + count;
    std::int64_t quad = begin / 4;
    if (begin % 4 == 0)
      for (; (quad + kQuads) * 4 <= end; quad += kQuads) quads(sample, position, quad, factors + (quad * 4 - begin));
    for (; quad * 4 < end; quad += kQuads) {
      alignas(32) float some[4 * kQuads];
      quads(sample, position, quad, some);
      const std::int64_t from = std::max(begin, quad * 4), to = std::min(end, (quad + kQuads) * 4);
      std::copy(some + (from - quad * 4), some + (to - quad * 4), factors + (from - begin));
    }
  }

 private:
  static constexpr std::int64_t kQuads = 4;
  using Wide = std::uint64_t __attribute__((vector_size(32)));  // four 32-bit words, each with room for a product
  using Words = std::uint32_t __attribute__((vector_size(32)));
  using Signed = std::int32_t __attribute__((vector_size(32)));

  /// Products of the low halves.
  static Wide product(Wide a, Wide b) {
#if defined(__AVX2__)
    return reinterpret_cast<Wide>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
    return (a & 0xffffffffu) * b;
#endif
  }

  /// The factors of four of rng::quad's blocks.  High halves of the words may hold anything: no step lets them down.
  void quads(std::int64_t sample, std::int64_t position, std::int64_t quad, float* out) const {
    const auto same = [](std::uint64_t x) { return Wide{} + x; };
    const auto q = static_cast<std::uint64_t>(quad);
    const Wide quad_numbers = Wide{q, q + 1, q + 2, q + 3};
    Wide c0 = same(static_cast<std::uint64_t>(sample)), c1 = same(static_cast<std::uint64_t>(sample) >> 32);
    Wide c2 = same(static_cast<std::uint64_t>(position)), c3 = quad_numbers;
    c1 ^= (quad_numbers >> 32) << 16;
    std::uint32_t k0 = static_cast<std::uint32_t>(d_.key), k1 = static_cast<std::uint32_t>(d_.key >> 32);
    const Wide m0 = same(0xD2511F53u), m1 = same(0xCD9E8D57u);
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const Wide p0 = product(c0, m0), p1 = product(c2, m1);
      c0 = (p1 >> 32) ^ c1 ^ same(k0);
      c2 = (p0 >> 32) ^ c3 ^ same(k1);
      c1 = p1;
      c3 = p0;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    const Wide first = (c0 & 0xffffffffu) | (c1 << 32), second = (c2 & 0xffffffffu) | (c3 << 32);
    write(__builtin_shufflevector(first, second, 0, 4, 1, 5), out);
    write(__builtin_shufflevector(first, second, 2, 6, 3, 7), out + 8);
  }

  void write(Wide bits, float* out) const {
    constexpr std::uint32_t top = 0x80000000u;  // turns an unsigned comparison into a signed one
    const Signed kept = reinterpret_cast<Signed>(reinterpret_cast<Words>(bits) ^ top) >=
                        reinterpret_cast<Signed>((Words{} + least_kept_) ^ top);
    std::uint32_t keep = 0;
    std::memcpy(&keep, &keep_, sizeof keep);
    const Words factors = reinterpret_cast<Words>(kept) & keep;
    std::memcpy(out, &factors, sizeof factors);
  }

  const Dropout& d_;
  float keep_;
  std::uint32_t least_kept_;  ///< of 32 bits
};

}  // namespace banyan::kernels::cpu
