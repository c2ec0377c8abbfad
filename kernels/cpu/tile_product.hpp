// Small matrix products of tiles that lie in the cache, for attention.  Six rows by two vectors of sums stay in
// registers; nothing is packed, because one operand is read by broadcast and may have any two strides.
#pragma once

#include <cstdint>
#include <cstring>

namespace banyan::kernels::cpu {

/// An operand element (r, k) at data[r * row + k * column].
struct Operand {
  const float* data;
  std::int64_t row, column;
};

namespace tile {

inline constexpr int kLanes = 8;
using Vector = float __attribute__((vector_size(kLanes * sizeof(float))));

inline Vector load(const float* p) {
  Vector v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, const Vector& v) { std::memcpy(p, &v, sizeof v); }

/// c[Rows, Vectors*8] (=|+=) a[Rows, depth] * b[depth, Vectors*8].
template <int Rows, int Vectors, bool Add>
inline void block(std::int64_t depth, Operand a, const float* b, std::int64_t b_row, float* c, std::int64_t c_row) {
  Vector sum[Rows][Vectors];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) sum[r][v] = Vector{};
  for (std::int64_t k = 0; k < depth; ++k) {
    Vector right[Vectors];
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) right[v] = load(b + k * b_row + v * kLanes);
    const float* left = a.data + k * a.column;
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const float x = left[r * a.row];
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) sum[r][v] += x * right[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      float* to = c + r * c_row + v * kLanes;
      store(to, Add ? load(to) + sum[r][v] : sum[r][v]);
    }
}

template <int Vectors, bool Add>
inline void panel(std::int64_t rows, std::int64_t depth, Operand a, const float* b, std::int64_t b_row, float* c,
                  std::int64_t c_row) {
  std::int64_t r = 0;
  const auto at = [&](std::int64_t i) { return Operand{a.data + i * a.row, a.row, a.column}; };
  for (; r + 6 <= rows; r += 6) block<6, Vectors, Add>(depth, at(r), b, b_row, c + r * c_row, c_row);
  switch (rows - r) {
    case 5:
      return block<5, Vectors, Add>(depth, at(r), b, b_row, c + r * c_row, c_row);
    case 4:
      return block<4, Vectors, Add>(depth, at(r), b, b_row, c + r * c_row, c_row);
    case 3:
      return block<3, Vectors, Add>(depth, at(r), b, b_row, c + r * c_row, c_row);
    case 2:
      return block<2, Vectors, Add>(depth, at(r), b, b_row, c + r * c_row, c_row);
    case 1:
      return block<1, Vectors, Add>(depth, at(r), b, b_row, c + r * c_row, c_row);
    default:
      return;
  }
}

}  // namespace tile

/// c[rows, columns] (=|+=) a[rows, depth] * b[depth, columns]; the rows of b and c are contiguous.
template <bool Add>
void tile_product(std::int64_t rows, std::int64_t columns, std::int64_t depth, Operand a, const float* b,
                  std::int64_t b_row, float* c, std::int64_t c_row) {
  std::int64_t n = 0;
  for (; n + 2 * tile::kLanes <= columns; n += 2 * tile::kLanes)
    tile::panel<2, Add>(rows, depth, a, b + n, b_row, c + n, c_row);
  for (; n + tile::kLanes <= columns; n += tile::kLanes)
    tile::panel<1, Add>(rows, depth, a, b + n, b_row, c + n, c_row);
  for (; n < columns; ++n)
    for (std::int64_t r = 0; r < rows; ++r) {
      float sum = 0;
      for (std::int64_t k = 0; k < depth; ++k) sum += a.data[r * a.row + k * a.column] * b[k * b_row + n];
      c[r * c_row + n] = Add ? c[r * c_row + n] + sum : sum;
    }
}

}  // namespace banyan::kernels::cpu
