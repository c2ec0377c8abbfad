// bfloat16: the upper half of a float.  Storage only: every operation on it is one on floats.
#pragma once

#include <bit>
#include <cstdint>

#include "src/base/dtype.hpp"

namespace banyan {

struct BF16 {
  std::uint16_t bits;

  BF16() = default;
  /// To nearest, ties to even; what is no number stays none.
  BF16(float value) : bits(rounded(value)) {}                                         // NOLINT: meant to be implicit
  operator float() const { return std::bit_cast<float>(std::uint32_t{bits} << 16); }  // NOLINT: meant to be implicit
  // Both write the bits in place: a temporary object that is then copied keeps compilers from making vectors.
  BF16& operator=(float value) {
    bits = rounded(value);
    return *this;
  }
  BF16& operator+=(float value) { return *this = static_cast<float>(*this) + value; }

 private:
  /// Without branches, so that loops over many values become vectors.
  static std::uint16_t rounded(float value) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t nearest = word + 0x7fffu + (word >> 16 & 1u), quiet = word | 0x400000u;
    return static_cast<std::uint16_t>((value != value ? quiet : nearest) >> 16);
  }
};
static_assert(sizeof(BF16) == 2);

template <>
inline constexpr DType dtype_of<BF16> = DType::kBF16;

}  // namespace banyan
