// Dropout of a matrix; its backward pass is the same call.
#include <cstring>

#include "kernels/cpu/check.hpp"
#include "kernels/cpu/cpu_backend.hpp"
#include "kernels/cpu/dropout_mask.hpp"
#include "kernels/cpu/parallel.hpp"

namespace banyan::kernels::cpu {

void CpuBackend::dropout(Queue q, View out_RC, ConstView x_RC, const Dropout& d) {
  constexpr Check check("dropout");
  check.by_element("x", x_RC, [&]<class T>(T) {
    const auto x = check.matrix<T>("x", x_RC);
    const auto out = check.matrix<T>("out", out_RC, x.rows, x.columns);
    check.that(d.p >= 0 && d.p < 1, "p", "must be in [0, 1)");
    if (d.p == 0) {
      if (out.data != x.data) copy(q, out_RC, x_RC);
      return;
    }
    const auto rows = static_cast<std::size_t>(x.rows);
    check.that(d.sample.size() == rows && d.position.size() == rows, "sample or position", "has not one value per row");
    const DropoutMask mask(d);
    parallel_for(threads_, x.rows, 16 * x.count(), [&](std::int64_t r) {
      constexpr std::int64_t run = 64;
      alignas(64) float factors[run];
      for (std::int64_t begin = 0; begin < x.columns; begin += run) {
        const std::int64_t n = std::min(run, x.columns - begin);
        mask.row(r, begin, n, factors);
        const T* from = x.row(r) + begin;
        T* to = out.row(r) + begin;
#pragma omp simd
        for (std::int64_t c = 0; c < n; ++c) to[c] = from[c] * factors[c];
      }
    });
  });
}

}  // namespace banyan::kernels::cpu
