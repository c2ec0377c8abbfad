// Narrow weights: how bf16 and i8 rows become fp32, a vector or a row at a time (see Gemm in kernels/backend.hpp).
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/backend.hpp"
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/tile_product.hpp"
#include "src/base/bf16.hpp"

namespace banyan::kernels::cpu {

// A row of a matrix as products read it: row.vector(k) are elements k .. k+7, row.value(k) one.

struct F32Row {
  const float* data;
  tile::Vector vector(std::int64_t k) const { return tile::load(data + k); }
  float value(std::int64_t k) const { return data[k]; }
  const void* address(std::int64_t k) const { return data + k; }
};

struct Bf16Row {
  const BF16* data;
  tile::Vector vector(std::int64_t k) const {
    using Halves = std::uint16_t __attribute__((vector_size(tile::kLanes * 2)));
    using Words = std::uint32_t __attribute__((vector_size(tile::kLanes * 4)));
    Halves halves;
    std::memcpy(&halves, data + k, sizeof halves);
    const Words words = __builtin_convertvector(halves, Words) << 16;
    tile::Vector v;
    std::memcpy(&v, &words, sizeof v);
    return v;
  }
  float value(std::int64_t k) const { return data[k]; }
  const void* address(std::int64_t k) const { return data + k; }
};

struct I8Row {
  const std::int8_t* data;
  const float* scales;
  tile::Vector vector(std::int64_t k) const {
    using Bytes = std::int8_t __attribute__((vector_size(tile::kLanes)));
    using Words = std::int32_t __attribute__((vector_size(tile::kLanes * 4)));
    Bytes bytes;
    std::memcpy(&bytes, data + k, sizeof bytes);
    return __builtin_convertvector(__builtin_convertvector(bytes, Words), tile::Vector) * scales[k / kScaleGroup];
  }
  float value(std::int64_t k) const { return static_cast<float>(data[k]) * scales[k / kScaleGroup]; }
  const void* address(std::int64_t k) const { return data + k; }
};
static_assert(kScaleGroup % tile::kLanes == 0, "a vector has one scale");

/// The rows of a matrix of one of these kinds.
struct F32Rows {
  Matrix<const float> m;
  std::int64_t rows() const { return m.rows; }
  F32Row row(std::int64_t n) const { return {m.row(n)}; }
};
struct Bf16Rows {
  Matrix<const BF16> m;
  std::int64_t rows() const { return m.rows; }
  Bf16Row row(std::int64_t n) const { return {m.row(n)}; }
};
struct I8Rows {
  const std::int8_t* data;
  std::int64_t count, columns, stride;
  std::int64_t rows() const { return count; }
  I8Row row(std::int64_t n) const {
    const std::int8_t* at = data + n * stride;
    return {at, reinterpret_cast<const float*>(at + (columns + 3) / 4 * 4)};
  }
};

inline bool is_narrow(DType dtype) { return dtype == DType::kBF16 || dtype == DType::kI8; }

/// The rows of a narrow matrix [rows, columns], checked.
inline Bf16Rows bf16_rows(const Check& check, const char* name, const ConstView& v, std::int64_t rows,
                          std::int64_t columns) {
  return {check.strided<BF16>(name, v, rows, columns)};
}
inline I8Rows i8_rows(const Check& check, const char* name, const ConstView& v, std::int64_t rows,
                      std::int64_t columns) {
  check.that(v.kind != MemoryKind::kDevice, name, "lies in device memory, which the CPU cannot read");
  check.that(v.shape.rank() == 2 && v.shape[0] == rows && v.shape[1] == columns, name, "has another shape");
  check.that(v.data || rows * columns == 0, name, "is missing");
  check.that(v.row_stride == narrow_row_bytes(DType::kI8, columns), name, "has no scales behind its rows");
  return {reinterpret_cast<const std::int8_t*>(v.data), rows, columns, v.row_stride};
}

/// out[0 .. count) = row.
template <class Row, class T>
void widen(Row row, std::int64_t count, T* out) {
  std::int64_t k = 0;
  for (; k + tile::kLanes <= count; k += tile::kLanes) {
    const tile::Vector v = row.vector(k);
    float values[tile::kLanes];
    tile::store(values, v);
    for (int lane = 0; lane < tile::kLanes; ++lane) out[k + lane] = values[lane];
  }
  for (; k < count; ++k) out[k] = row.value(k);
}

}  // namespace banyan::kernels::cpu
