// Rounding weights to narrow types.
#include "kernels/cpu/narrow.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu_backend.hpp"
#include "kernels/cpu/parallel.hpp"

namespace banyan::kernels::cpu {
namespace {

constexpr float kLargestInteger = 127;

void quantize(const float* in, std::int64_t count, std::int8_t* out, float* scales) {
  for (std::int64_t begin = 0; begin < count; begin += kScaleGroup) {
    const std::int64_t end = std::min(count, begin + kScaleGroup);
    float largest = 0;
    for (std::int64_t k = begin; k < end; ++k) largest = std::max(largest, std::abs(in[k]));
    const float scale = largest / kLargestInteger, inverse = largest > 0 ? kLargestInteger / largest : 0;
    scales[begin / kScaleGroup] = scale;
    for (std::int64_t k = begin; k < end; ++k)
      out[k] = static_cast<std::int8_t>(std::clamp(std::nearbyint(in[k] * inverse), -kLargestInteger, kLargestInteger));
  }
}

}  // namespace

void CpuBackend::narrow(Queue, View out_NK, ConstView in_NK) {
  constexpr Check check("narrow");
  const auto in = check.matrix("in", in_NK);
  if (out_NK.dtype == DType::kBF16) {
    const auto out = check.matrix<BF16>("out", out_NK, in.rows, in.columns);
    parallel_for(threads_, in.rows, in.count(), [&](std::int64_t r) {
      const float* from = in.row(r);
      BF16* to = out.row(r);
#pragma omp simd
      for (std::int64_t c = 0; c < in.columns; ++c) to[c] = from[c];
    });
    return;
  }
  check.that(out_NK.dtype == DType::kI8, "out", "is neither bf16 nor i8");
  i8_rows(check, "out", out_NK, in.rows, in.columns);
  auto* const out = reinterpret_cast<std::int8_t*>(out_NK.data);
  parallel_for(threads_, in.rows, in.count(), [&](std::int64_t r) {
    std::int8_t* const to = out + r * out_NK.row_stride;
    quantize(in.row(r), in.columns, to, reinterpret_cast<float*>(to + (in.columns + 3) / 4 * 4));
  });
}

}  // namespace banyan::kernels::cpu
