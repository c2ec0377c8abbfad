// Rounding weights to narrow types.
#include "kernels/cpu/narrow.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu_backend.hpp"
#include "kernels/cpu/parallel.hpp"

namespace banyan::kernels::cpu {
namespace {

constexpr float kLargestInteger = 127;
/// Elements that a thread takes at a time where rows mean nothing.
constexpr std::int64_t kRun = 4096;

/// body(begin, count) for runs of `count` elements.
template <class Body>
void in_runs(int threads, std::int64_t count, const Body& body) {
  parallel_for(threads, (count + kRun - 1) / kRun, count,
               [&](std::int64_t i) { body(i * kRun, std::min(kRun, count - i * kRun)); });
}

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
    in_runs(threads_, in.count(), [&](std::int64_t begin, std::int64_t count) {
      const float* from = in.data + begin;
      BF16* to = out.data + begin;
#pragma omp simd
      for (std::int64_t i = 0; i < count; ++i) to[i] = from[i];
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

void CpuBackend::from_bf16(Queue, View out, ConstView in) {
  constexpr Check check("from_bf16");
  const std::int64_t n = out.count();
  float* to = check.flat("out", out, n);
  const BF16* from = check.flat<BF16>("in", in, n);
  in_runs(threads_, n,
          [&](std::int64_t begin, std::int64_t count) { widen(Bf16Row{from + begin}, count, to + begin); });
}

}  // namespace banyan::kernels::cpu
