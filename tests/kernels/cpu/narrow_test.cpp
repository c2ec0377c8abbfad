#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/cpu/dispatch.hpp"
#include "src/base/error.hpp"

namespace banyan::kernels {
namespace {

std::unique_ptr<Backend> backend(int threads = 2) { return make_cpu_backend({.threads = threads, .max_isa = ""}); }

std::vector<float> some_values(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> v(static_cast<std::size_t>(count));
  for (float& x : v) x = std::ldexp(static_cast<float>(random()) / 4.3e9f - 0.5f, static_cast<int>(random() % 6));
  return v;
}

/// A narrow copy of a matrix, and what it stands for.
struct Narrow {
  Narrow(Backend& b, DType dtype, std::int64_t rows, std::int64_t columns, std::vector<float> wide)
      : memory(static_cast<std::size_t>(rows * narrow_row_bytes(dtype, columns))), values(wide.size()) {
    view = View(memory.data(), dtype, {rows, columns});
    view.row_stride = narrow_row_bytes(dtype, columns) / static_cast<std::int64_t>(size_of(dtype));
    b.narrow({}, view, ConstView(wide.data(), {rows, columns}));
    std::vector<std::int32_t> all(static_cast<std::size_t>(rows));
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int32_t>(i) + 5;
    b.embedding_forward({}, View(values.data(), {rows, columns}), ConstView(all.data(), {rows}), view, 5);
  }
  std::vector<std::byte> memory;
  View view;
  std::vector<float> values;
};

TEST(Narrow, IntegersAreWithinHalfAStepOfTheirGroup) {
  const auto b = backend();
  for (const std::int64_t columns : {1, 7, 63, 64, 65, 200}) {
    std::vector<float> wide = some_values(9 * columns, 3);
    for (std::int64_t c = 0; c < columns; ++c) wide[static_cast<std::size_t>(2 * columns + c)] = 0;  // a row of zeros
    const Narrow n(*b, DType::kI8, 9, columns, wide);
    for (std::int64_t r = 0; r < 9; ++r)
      for (std::int64_t begin = 0; begin < columns; begin += kScaleGroup) {
        const std::int64_t end = std::min(columns, begin + kScaleGroup);
        float largest = 0;
        for (std::int64_t c = begin; c < end; ++c)
          largest = std::max(largest, std::abs(wide[static_cast<std::size_t>(r * columns + c)]));
        for (std::int64_t c = begin; c < end; ++c) {
          const auto i = static_cast<std::size_t>(r * columns + c);
          ASSERT_NEAR(n.values[i], wide[i], largest / 127 * 0.5001f) << r << ", " << c << " of " << columns;
        }
      }
  }
}

TEST(Narrow, ComesBackFromBf16ToTheBit) {
  for (const std::int64_t count : {0, 1, 7, 4096, 4097, 40000}) {
    const std::vector<float> wide = some_values(count, 5);
    std::vector<std::uint16_t> half(wide.size());
    std::vector<float> back(wide.size() + 1, -1.0f);
    const auto b = backend();
    const View rounded(reinterpret_cast<std::byte*>(half.data()), DType::kBF16, {1, count});
    b->narrow({}, rounded, ConstView(wide.data(), {1, count}));
    b->from_bf16({}, View(back.data(), {count}), rounded.reshaped({count}));
    for (std::size_t i = 0; i < wide.size(); ++i) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(back[i]), std::uint32_t{half[i]} << 16) << i << " of " << count;
      ASSERT_NEAR(back[i], wide[i], std::abs(wide[i]) / 256) << i << " of " << count;
    }
    ASSERT_EQ(back.back(), -1.0f) << "behind the end";
  }
}

TEST(Narrow, LooksUpOnlyTheRowsOfItsTable) {
  const auto b = backend();
  const Narrow n(*b, DType::kBF16, 4, 10, some_values(40, 1));
  const std::vector<std::int32_t> tokens{4, 5, 8, 9};
  std::vector<float> out(40, 7.0f);
  b->embedding_forward({}, View(out.data(), {4, 10}), ConstView(tokens.data(), {4}), n.view, 5);
  for (std::size_t c = 0; c < 10; ++c) {
    EXPECT_EQ(out[c], 0.0f);
    EXPECT_EQ(out[10 + c], n.values[c]);
    EXPECT_EQ(out[20 + c], n.values[30 + c]);
    EXPECT_EQ(out[30 + c], 0.0f);
  }
}

/// c = a b^T + bias of every number of rows that takes another way, against sums in double.
void expect_products(Backend& b, DType dtype, double tolerance_of_many) {
  for (const std::int64_t K : {1, 64, 83, 200})
    for (const std::int64_t N : {1, 25, 130}) {
      const Narrow w(b, dtype, N, K, some_values(N * K, 11));
      const std::vector<float> bias = some_values(N, 4);
      for (const std::int64_t M : {1, 2, 3, 5, 16, 17, 40})
        for (const bool with_bias : {false, true}) {
          std::vector<float> a = some_values(M * (K + 3), 5), c(static_cast<std::size_t>(M * (N + 2)), 9.0f);
          View left(a.data(), {M, K}), out(c.data(), {M, N});
          left.row_stride = K + 3;
          out.row_stride = N + 2;
          Gemm g{.c = out, .a = left, .b = w.view, .transpose_b = true, .bias = {}};
          if (with_bias) g.bias = ConstView(bias.data(), {N});
          b.gemm({}, g);
          double largest = 0, worst = 0;
          for (std::int64_t m = 0; m < M; ++m)
            for (std::int64_t n = 0; n < N; ++n) {
              double sum = with_bias ? bias[static_cast<std::size_t>(n)] : 0, size = 0;
              for (std::int64_t k = 0; k < K; ++k) {
                const double product = static_cast<double>(a[static_cast<std::size_t>(m * (K + 3) + k)]) *
                                       w.values[static_cast<std::size_t>(n * K + k)];
                sum += product;
                size += std::abs(product);
              }
              largest = std::max(largest, size);
              worst = std::max(worst, std::abs(c[static_cast<std::size_t>(m * (N + 2) + n)] - sum));
            }
          ASSERT_LE(worst, (M <= 16 ? 2e-6 : tolerance_of_many) * largest)
              << name_of(dtype) << " " << M << "x" << N << "x" << K;
          for (std::int64_t m = 0; m + 1 < M; ++m)  // nothing between the rows
            ASSERT_EQ(c[static_cast<std::size_t>(m * (N + 2) + N)], 9.0f);
        }
    }
}

TEST(Narrow, ProductsAreThoseOfTheRoundedWeights) {
  const auto b = backend();
  // Many rows may be rounded to bf16 themselves, and i8 weights with them: 2^-9 each.
  for (const DType dtype : {DType::kBF16, DType::kI8}) expect_products(*b, dtype, 4.2e-3);
}

TEST(Narrow, ProductsWithoutBf16InstructionsWidenTheWeights) {
  for (const cpu::Isa isa : cpu::compiled_isas()) {
    if (isa > cpu::processor_isa() || isa >= cpu::Isa::kAvx512Bf16) continue;
    const auto b = cpu::make_backend(isa, isa, 2);
    for (const DType dtype : {DType::kBF16, DType::kI8}) expect_products(*b, dtype, 2e-6);
  }
}

TEST(Narrow, ProductsDoNotDependOnOtherRowsNorFewOnThreads) {
  const auto one = backend(1), two = backend(2);
  const std::int64_t N = 70, K = 150;
  const Narrow w(*one, DType::kBF16, N, K, some_values(N * K, 2));
  const std::vector<float> a = some_values(9 * K, 8);
  std::vector<float> all(9 * 70), single(70), again(9 * 70);
  const auto product = [&](Backend& b, std::int64_t first, std::int64_t rows, std::vector<float>& c) {
    b.gemm({}, {.c = View(c.data(), {rows, N}),
                .a = ConstView(a.data() + first * K, {rows, K}),
                .b = w.view,
                .transpose_b = true,
                .bias = {}});
  };
  product(*one, 0, 9, all);
  product(*two, 0, 9, again);
  EXPECT_EQ(all, again);
  product(*one, 4, 1, single);
  EXPECT_EQ(single, std::vector<float>(all.begin() + 4 * N, all.begin() + 5 * N));
}

TEST(Narrow, RefusesWhatNarrowWeightsCannotDo) {
  const auto b = backend();
  const Narrow w(*b, DType::kI8, 4, 8, some_values(32, 2));
  std::vector<float> a(8), c(4);
  Gemm g{.c = View(c.data(), {1, 4}),
         .a = ConstView(a.data(), {1, 8}),
         .b = w.view,
         .transpose_b = true,
         .accumulate = true,
         .bias = {}};
  EXPECT_THROW(b->gemm({}, g), BugError);
  g.accumulate = false;
  g.b.row_stride = 8;  // no room for scales
  EXPECT_THROW(b->gemm({}, g), BugError);
  g.b = w.view;
  g.b.shape[1] = 7;
  EXPECT_THROW(b->gemm({}, g), BugError);
}

}  // namespace
}  // namespace banyan::kernels
