// Dropout factors of consecutive channels of a row, by the counter RNG of src/base/rng.hpp, sixteen blocks at a time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/backend.hpp"
#include "src/base/rng.hpp"

namespace banyan::kernels::cpu {

/// What turns a dropout's description into factors.
class DropoutMask {
 public:
  explicit DropoutMask(const Dropout& d) : d_(d), keep_(1.0f / (1.0f - d.p)) {}

  /// factors[i] = 0 or 1/(1-p) for channel0 + first + i of row r, i in [0, count).
  void row(std::int64_t r, std::int64_t first, std::int64_t count, float* factors) const {
    const auto index = static_cast<std::size_t>(r);
    const std::int64_t sample = d_.sample[index], position = d_.position[index];
    const std::int64_t begin = d_.channel0 + first, end = begin + count;
    for (std::int64_t quad0 = begin / 4; quad0 * 4 < end; quad0 += kBlocks) {
      alignas(64) float out[4 * kBlocks];
      blocks(sample, position, quad0, out);
      const std::int64_t from = std::max(begin, quad0 * 4), to = std::min(end, (quad0 + kBlocks) * 4);
      for (std::int64_t c = from; c < to; ++c) factors[c - begin] = out[c - quad0 * 4];
    }
  }

 private:
  static constexpr std::int64_t kBlocks = 16;

  /// The factors of 16 blocks of 4 channels: rng::quad, unrolled over blocks so that the compiler uses vectors.
  void blocks(std::int64_t sample, std::int64_t position, std::int64_t quad0, float* out) const {
    alignas(64) std::uint32_t c0[kBlocks], c1[kBlocks], c2[kBlocks], c3[kBlocks];
    const auto low = static_cast<std::uint32_t>(sample), high = static_cast<std::uint32_t>(sample >> 32);
    for (std::int64_t i = 0; i < kBlocks; ++i) {
      const std::int64_t quad = quad0 + i;
      c0[i] = low;
      c1[i] = high ^ (static_cast<std::uint32_t>(quad >> 32) << 16);
      c2[i] = static_cast<std::uint32_t>(position);
      c3[i] = static_cast<std::uint32_t>(quad);
    }
    std::uint32_t k0 = static_cast<std::uint32_t>(d_.key), k1 = static_cast<std::uint32_t>(d_.key >> 32);
    for (int round = 0; round < 10; ++round) {
#pragma omp simd
      for (std::int64_t i = 0; i < kBlocks; ++i) {
        const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c0[i], p1 = std::uint64_t{0xCD9E8D57u} * c2[i];
        c0[i] = static_cast<std::uint32_t>(p1 >> 32) ^ c1[i] ^ k0;
        c1[i] = static_cast<std::uint32_t>(p1);
        c2[i] = static_cast<std::uint32_t>(p0 >> 32) ^ c3[i] ^ k1;
        c3[i] = static_cast<std::uint32_t>(p0);
      }
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    for (std::int64_t i = 0; i < kBlocks; ++i) {
      out[4 * i] = factor(c0[i]);
      out[4 * i + 1] = factor(c1[i]);
      out[4 * i + 2] = factor(c2[i]);
      out[4 * i + 3] = factor(c3[i]);
    }
  }
  float factor(std::uint32_t bits) const { return rng::uniform(bits) >= d_.p ? keep_ : 0.0f; }

  const Dropout& d_;
  float keep_;
};

}  // namespace banyan::kernels::cpu
