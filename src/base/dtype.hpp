// Element types of tensors, and where memory lives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace banyan {

enum class DType : std::uint8_t { kF32, kBF16, kF64, kI32, kI64, kU8, kU16, kU32, kI8 };
enum class MemoryKind : std::uint8_t { kHost, kPinned, kDevice };

/// Bytes of one element.
constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kU8:
    case DType::kI8: return 1;
    case DType::kBF16:
    case DType::kU16: return 2;
    case DType::kF32:
    case DType::kI32:
    case DType::kU32: return 4;
    case DType::kF64:
    case DType::kI64: return 8;
  }
  return 0;
}

/// Name as written in manifests and messages ("f32").
constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::kF32: return "f32";
    case DType::kBF16: return "bf16";
    case DType::kF64: return "f64";
    case DType::kI32: return "i32";
    case DType::kI64: return "i64";
    case DType::kU8: return "u8";
    case DType::kU16: return "u16";
    case DType::kU32: return "u32";
    case DType::kI8: return "i8";
  }
  return "?";
}

template <class T>
inline constexpr DType dtype_of = DType::kU8;
template <>
inline constexpr DType dtype_of<float> = DType::kF32;
template <>
inline constexpr DType dtype_of<double> = DType::kF64;
template <>
inline constexpr DType dtype_of<std::int32_t> = DType::kI32;
template <>
inline constexpr DType dtype_of<std::int64_t> = DType::kI64;
template <>
inline constexpr DType dtype_of<std::uint16_t> = DType::kU16;
template <>
inline constexpr DType dtype_of<std::uint32_t> = DType::kU32;

}  // namespace banyan
