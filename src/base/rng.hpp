// Counter-based random numbers.  Every random value of the program is a pure function of what it is for:
//   value = f(seed, purpose, layer, step, sample, position, channel)
// so that no mesh, thread count or restart can change it.  Generator: Philox4x32-10, J. K. Salmon et al., "Parallel
// Random Numbers: As Easy as 1, 2, 3", SC'11, section 3.3.
// What is constexpr here runs inside GPU kernels, too.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace banyan::rng {

using Block = std::array<std::uint32_t, 4>;

/// The ten rounds of Philox4x32.
constexpr Block philox(Block counter, std::uint64_t key) {
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ k0, static_cast<std::uint32_t>(p1),
               static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ k1, static_cast<std::uint32_t>(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return counter;
}

/// A 64-bit mix with full avalanche (the finaliser of splitmix64); used to fold several integers into one key.
constexpr std::uint64_t mix(std::uint64_t a, std::uint64_t b = 0) {
  std::uint64_t z = a + 0x9E3779B97F4A7C15u * (b + 1);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/// Key of a named purpose, for example the name of a parameter (FNV-1a folded into the seed).
inline std::uint64_t named_key(std::uint64_t seed, std::string_view name) {
  std::uint64_t h = 0xcbf29ce484222325u;
  for (char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return mix(seed, h);
}

/// What dropout masks are for.
enum class Purpose : std::uint32_t { kEmbedding = 1, kAttention = 2, kResidualAttention = 3, kResidualMlp = 4, kSampling = 5 };

/// Key shared by all values of one (seed, purpose, layer, step).
inline std::uint64_t stream_key(std::uint64_t seed, Purpose purpose, std::int64_t layer, std::int64_t step) {
  return mix(mix(mix(seed, static_cast<std::uint64_t>(purpose)), static_cast<std::uint64_t>(layer)),
             static_cast<std::uint64_t>(step));
}

/// Four 32-bit values for channels 4*quad .. 4*quad+3 of (sample, position) in the stream of `key`.
/// sample < 2^48, position < 2^32, quad < 2^16 * 2^16 (the high half of quad meets the high half of sample).
constexpr Block quad(std::uint64_t key, std::int64_t sample, std::int64_t position, std::int64_t quad_index) {
  return philox({static_cast<std::uint32_t>(sample),
                 static_cast<std::uint32_t>(sample >> 32) ^ (static_cast<std::uint32_t>(quad_index >> 32) << 16),
                 static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(quad_index)},
                key);
}

/// Uniform in [0, 1) with 24 bits.
inline float uniform(std::uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }

/// Standard normal numbers 2*pair and 2*pair + 1 of the stream `key` (Box-Muller on two values of one block).
inline std::array<double, 2> normal_pair(std::uint64_t key, std::uint64_t pair) {
  const Block b = philox({static_cast<std::uint32_t>(pair), static_cast<std::uint32_t>(pair >> 32), 0x6e6f726du, 0}, key);
  const double u1 = (static_cast<double>(b[0]) + 1.0) * 0x1p-32, u2 = static_cast<double>(b[1]) * 0x1p-32;
  const double r = std::sqrt(-2.0 * std::log(u1)), phi = 2.0 * 3.14159265358979323846 * u2;
  return {r * std::cos(phi), r * std::sin(phi)};
}

/// Standard normal number `index` of the stream `key`.
inline double normal(std::uint64_t key, std::uint64_t index) { return normal_pair(key, index / 2)[index % 2]; }

}  // namespace banyan::rng
