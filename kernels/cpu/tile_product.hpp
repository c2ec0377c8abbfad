// Small matrix products of tiles that lie in the cache, for attention.  Six rows by two vectors of sums (four where
// there are 32 registers) stay in registers; nothing is packed, because one operand is read by broadcast and may have
// any two strides.  Elements are floats or, where the processor multiplies them, pairs of bf16 along the depth.
#pragma once

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace banyan::kernels::cpu {

/// Two bf16 that follow each other along the depth of a product, the first in the lower half.
enum class Bf16Pair : std::uint32_t {};

/// An operand element (r, k) at data[r * row + k * column].
template <class E>
struct OperandOf {
  const E* data;
  std::int64_t row, column;
};
using Operand = OperandOf<float>;

/// Part of the depth of a product.
struct Range {
  std::int64_t begin, end;
};

namespace tile {

/// Of the widest vectors: lanes, and how many of them a block of sums is wide.
#if defined(__AVX512F__)
inline constexpr int kLanes = 16, kWidest = 4;
#else
inline constexpr int kLanes = 8, kWidest = 2;
#endif

template <int Lanes>
struct VectorOf {
  using Type __attribute__((vector_size(Lanes * sizeof(float)))) = float;
};
template <int Lanes>
using VectorN = typename VectorOf<Lanes>::Type;
using Vector = VectorN<kLanes>;

/// Bits of floats or of pairs.
template <int Lanes = kLanes, class E>
inline VectorN<Lanes> load(const E* p) {
  VectorN<Lanes> v;
  static_assert(sizeof(E) == sizeof(float));
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <class V>
inline V multiply_add(float left, const V& right, const V& sum) {
  return sum + left * right;
}
#if defined(__AVX512BF16__)
/// Adds both products of each pair.
inline VectorN<16> multiply_add(Bf16Pair left, const VectorN<16>& right, const VectorN<16>& sum) {
  return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(static_cast<int>(left)), (__m512bh)right);
}
#endif
template <class E, class V>
inline void store(E* p, const V& v) {
  static_assert(sizeof(E) == sizeof(float));
  std::memcpy(p, &v, sizeof v);
}

/// {sum of a's lanes, of b's, of c's, of d's}: halves are added until four lanes are left of each.
template <class V>
inline VectorN<4> sums(const V& a, const V& b, const V& c, const V& d) {
  if constexpr (sizeof(V) == 16 * sizeof(float)) {
    const auto half = [](const V& v) -> VectorN<8> {
      return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
             __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
    };
    return sums(half(a), half(b), half(c), half(d));
  } else if constexpr (sizeof(V) == 8 * sizeof(float)) {
    const auto half = [](const V& v) -> VectorN<4> {
      return __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
    };
    return sums(half(a), half(b), half(c), half(d));
  } else {
    const V ab = __builtin_shufflevector(a, b, 0, 4, 2, 6) + __builtin_shufflevector(a, b, 1, 5, 3, 7);
    const V cd = __builtin_shufflevector(c, d, 0, 4, 2, 6) + __builtin_shufflevector(c, d, 1, 5, 3, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  }
}

/// out[d][i] = factor * rows[i][d] for eight by eight elements, in three rounds that swap ever larger blocks.  Pairs
/// are moved as they are.
template <class E>
inline void transpose8(const E* rows, std::int64_t stride, float factor, E* out, std::int64_t out_stride) {
  VectorN<8> a[8], b[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    a[i] = load<8>(rows + i * stride);
    if constexpr (std::is_same_v<E, float>) a[i] *= factor;
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i)
    b[i] = i % 2 == 0 ? __builtin_shufflevector(a[i], a[i + 1], 0, 8, 2, 10, 4, 12, 6, 14)
                      : __builtin_shufflevector(a[i - 1], a[i], 1, 9, 3, 11, 5, 13, 7, 15);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i)
    a[i] = i % 4 < 2 ? __builtin_shufflevector(b[i], b[i + 2], 0, 1, 8, 9, 4, 5, 12, 13)
                     : __builtin_shufflevector(b[i - 2], b[i], 2, 3, 10, 11, 6, 7, 14, 15);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i)
    store(out + i * out_stride, i < 4 ? __builtin_shufflevector(a[i], a[i + 4], 0, 1, 2, 3, 8, 9, 10, 11)
                                      : __builtin_shufflevector(a[i - 4], a[i], 4, 5, 6, 7, 12, 13, 14, 15));
}

/// c[Rows, Vectors*Lanes] (=|+=) a[Rows, depth] * b[depth, Vectors*Lanes].
template <int Rows, int Vectors, int Lanes, bool Add, class E>
inline void block(std::int64_t depth, OperandOf<E> a, const E* b, std::int64_t b_row, float* c, std::int64_t c_row) {
  VectorN<Lanes> sum[Rows][Vectors];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sum[r][v] = VectorN<Lanes>{};
  for (std::int64_t k = 0; k < depth; ++k) {
    VectorN<Lanes> right[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) right[v] = load<Lanes>(b + k * b_row + v * Lanes);
    const E* left = a.data + k * a.column;
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const E x = left[r * a.row];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sum[r][v] = multiply_add(x, right[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      float* to = c + r * c_row + v * Lanes;
      store(to, Add ? load<Lanes>(to) + sum[r][v] : sum[r][v]);
    }
}

/// The block of up to six rows at row r; `range` says which part of the depth counts there.
template <int Vectors, int Lanes, bool Add, class E>
inline void rows_of(int rows, Range range, OperandOf<E> a, const E* b, std::int64_t b_row, float* c,
                    std::int64_t c_row) {
  a.data += range.begin * a.column;
  b += range.begin * b_row;
  const std::int64_t depth = range.end > range.begin ? range.end - range.begin : 0;
  if (Add && depth == 0) return;
  switch (rows) {
    case 6:
      return block<6, Vectors, Lanes, Add>(depth, a, b, b_row, c, c_row);
    case 5:
      return block<5, Vectors, Lanes, Add>(depth, a, b, b_row, c, c_row);
    case 4:
      return block<4, Vectors, Lanes, Add>(depth, a, b, b_row, c, c_row);
    case 3:
      return block<3, Vectors, Lanes, Add>(depth, a, b, b_row, c, c_row);
    case 2:
      return block<2, Vectors, Lanes, Add>(depth, a, b, b_row, c, c_row);
    case 1:
      return block<1, Vectors, Lanes, Add>(depth, a, b, b_row, c, c_row);
    default:
      return;
  }
}

}  // namespace tile

/// c[rows, columns] (=|+=) a[rows, depth] * b[depth, columns]; the rows of b and c are contiguous.
/// used(r, r_end, n, n_end) is the Range of the depth that the block [r, r_end) x [n, n_end) needs: the rest is known
/// to be zero (a triangle that the causal mask cuts off).  Blocks are at most Widest vectors wide.  Products of pairs
/// have a multiple of 16 columns.
template <bool Add, int Widest = tile::kWidest, class E, class Used>
void tile_product(std::int64_t rows, std::int64_t columns, OperandOf<E> a, const E* b, std::int64_t b_row, float* c,
                  std::int64_t c_row, const Used& used) {
  std::int64_t n = 0;
  const auto panels = [&]<int Vectors, int Lanes>() {
    for (; n + Vectors * Lanes <= columns; n += Vectors * Lanes)
      for (std::int64_t r = 0; r < rows; r += 6) {
        const auto height = static_cast<int>(rows - r < 6 ? rows - r : 6);
        tile::rows_of<Vectors, Lanes, Add>(height, used(r, r + height, n, n + Vectors * Lanes),
                                           {a.data + r * a.row, a.row, a.column}, b + n, b_row, c + r * c_row + n,
                                           c_row);
      }
  };
  if constexpr (Widest > 2) panels.template operator()<4, tile::kLanes>();
  panels.template operator()<2, tile::kLanes>();
  panels.template operator()<1, tile::kLanes>();
  if constexpr (std::is_same_v<E, float>) {
    if constexpr (tile::kLanes > 8) panels.template operator()<1, 8>();
    for (; n < columns; ++n)
      for (std::int64_t r = 0; r < rows; ++r) {
        const Range range = used(r, r + 1, n, n + 1);
        float sum = 0;
        for (std::int64_t k = range.begin; k < range.end; ++k)
          sum += a.data[r * a.row + k * a.column] * b[k * b_row + n];
        c[r * c_row + n] = Add ? c[r * c_row + n] + sum : sum;
      }
  }
}

}  // namespace banyan::kernels::cpu
