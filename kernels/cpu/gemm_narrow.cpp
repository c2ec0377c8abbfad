// Products of fp32 rows with narrow weights.  A few rows, as when text is generated, read the weights once and widen
// them in registers.  Many rows, as in a prompt, are rounded to bf16 where the processor multiplies bf16; elsewhere the
// weights are widened to fp32, a block at a time.
#include <algorithm>

#include "kernels/cpu/cpu_backend.hpp"
#include "kernels/cpu/gemm_few_rows.hpp"
#include "kernels/cpu/gemm_packing.hpp"
#include "kernels/cpu/narrow.hpp"
#include "kernels/cpu/parallel.hpp"

namespace banyan::kernels::cpu {
void CpuBackend::gemm_narrow(const Gemm& g) {
  constexpr Check check("gemm");
  check.that(!g.transpose_a && g.transpose_b && !g.accumulate && g.alpha == 1, "b",
             "is narrow, and narrow weights only take part in c = a b^T + bias");
  const auto c = check.strided("c", g.c);
  const std::int64_t M = c.rows, N = c.columns, K = g.a.shape[1];
  const auto a = check.strided("a", g.a, M, K);
  const float* bias = g.bias ? check.flat("bias", g.bias, N) : nullptr;
  const bool halves = g.b.dtype == DType::kBF16;
  const Bf16Rows b16 = halves ? bf16_rows(check, "b", g.b, N, K) : Bf16Rows{};
  const I8Rows b8 = halves ? I8Rows{} : i8_rows(check, "b", g.b, N, K);
  if (M == 0 || N == 0) return;
  if (M <= kFewRows || K == 0) {
    const auto store = [&](std::int64_t m, std::int64_t n, float sum) { c.row(m)[n] = (bias ? bias[n] : 0.0f) + sum; };
    if (halves)
      product_of_few_rows(threads_, a, b16, store);
    else
      product_of_few_rows(threads_, a, b8, store);
    return;
  }

  const std::int64_t block = std::min(N, std::max<std::int64_t>(1, kWidenedElements / K));
  const auto halves_in = [](ScratchBuffer& buffer, std::int64_t count) {
    return reinterpret_cast<BF16*>(buffer.floats(static_cast<std::size_t>((count + 1) / 2)));
  };
  if (multiplies_bf16()) {
    BF16* const left = halves_in(narrow_left_, M * K);
    parallel_for(threads_, M, M * K, [&](std::int64_t r) { std::copy(a.row(r), a.row(r) + K, left + r * K); });
    if (bias) parallel_for(threads_, M, c.count(), [&](std::int64_t r) { std::copy(bias, bias + N, c.row(r)); });
    const auto add = [&](std::int64_t n, std::int64_t count, ConstView right) {
      gemm_bf16({.c = g.c.columns(n, n + count),
                 .a = ConstView(left, {M, K}),
                 .b = right,
                 .transpose_b = true,
                 .accumulate = bias != nullptr,
                 .bias = {}});
    };
    if (halves) return add(0, N, g.b);
    BF16* const right = halves_in(narrow_right_, block * K);
    for (std::int64_t n = 0; n < N; n += block) {
      const std::int64_t count = std::min(block, N - n);
      parallel_for(threads_, count, count * K, [&](std::int64_t r) { widen(b8.row(n + r), K, right + r * K); });
      add(n, count, ConstView(right, {count, K}));
    }
    return;
  }
  float* const right = narrow_right_.floats(static_cast<std::size_t>(block * K));
  for (std::int64_t n = 0; n < N; n += block) {
    const std::int64_t count = std::min(block, N - n);
    parallel_for(threads_, count, count * K, [&](std::int64_t r) {
      halves ? widen(b16.row(n + r), K, right + r * K) : widen(b8.row(n + r), K, right + r * K);
    });
    gemm({}, {.c = g.c.columns(n, n + count),
              .a = g.a,
              .b = ConstView(right, {count, K}),
              .transpose_b = true,
              .bias = bias ? g.bias.rows(n, n + count) : ConstView()});
  }
}

}  // namespace banyan::kernels::cpu
