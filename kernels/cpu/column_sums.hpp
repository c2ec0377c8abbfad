// Sums over the rows of a matrix, one per column: gradients of biases and norm weights.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/parallel.hpp"

namespace banyan::kernels::cpu {

/// For Sums sums per column at once: add(row, first column, n, acc) adds the row's terms of n columns to
/// acc[0..Sums)[n]; store(sum, column, value) takes the results.  Threads share out strips of columns.  Rows are summed
/// in blocks of 64 and the blocks one after the other, which keeps the rounding error of long sums small and their
/// order fixed.
template <int Sums, class Add, class Store>
void column_sums(int threads, std::int64_t rows, std::int64_t columns, const Add& add, const Store& store) {
  // Wide strips are read from memory in long runs.  Where they are cut does not matter to a column's sum.
  constexpr std::int64_t most = 1024, block = 64;
  const std::int64_t strips = (columns + most * threads - 1) / (most * threads) * threads;
  const std::int64_t width = ((columns + strips - 1) / std::max<std::int64_t>(1, strips) + 15) / 16 * 16;
  parallel_for(threads, strips, rows * columns, [&](std::int64_t s) {
    const std::int64_t begin = std::min(columns, s * width), n = std::min(width, columns - begin);
    alignas(64) float total[Sums][most] = {};
    for (std::int64_t r0 = 0; r0 < rows; r0 += block) {
      alignas(64) float part[Sums][most];
      for (int k = 0; k < Sums; ++k) std::fill(part[k], part[k] + n, 0.0f);
      for (std::int64_t r = r0; r < std::min(rows, r0 + block); ++r) add(r, begin, n, part);
      for (int k = 0; k < Sums; ++k)
#pragma omp simd
        for (std::int64_t c = 0; c < n; ++c) total[k][c] += part[k][c];
    }
    for (int k = 0; k < Sums; ++k)
      for (std::int64_t c = 0; c < n; ++c) store(k, begin + c, total[k][c]);
  });
}

}  // namespace banyan::kernels::cpu
