// Looking up rows of a table and adding gradients back to them.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/check.hpp"
#include "kernels/cpu/cpu_backend.hpp"
#include "kernels/cpu/narrow.hpp"
#include "kernels/cpu/parallel.hpp"

namespace banyan::kernels::cpu {

void CpuBackend::embedding_forward(Queue, View out_RC, ConstView tokens_R, ConstView table_VC,
                                   std::int64_t vocab_begin) {
  constexpr Check check("embedding_forward");
  if (out_RC.dtype == DType::kF32 && is_narrow(table_VC.dtype)) {
    const std::int64_t V = table_VC.shape[0], C = table_VC.shape[1];
    const auto out = check.matrix("out", out_RC, out_RC.shape[0], C);
    const std::int32_t* tokens = check.flat<std::int32_t>("tokens", tokens_R, out.rows);
    const auto look_up = [&](const auto& table) {
      parallel_for(threads_, out.rows, out.count(), [&](std::int64_t r) {
        const std::int64_t t = tokens[r] - vocab_begin;
        if (t >= 0 && t < V)
          widen(table.row(t), C, out.row(r));
        else
          std::fill(out.row(r), out.row(r) + C, 0.0f);
      });
    };
    if (table_VC.dtype == DType::kBF16)
      look_up(bf16_rows(check, "table", table_VC, V, C));
    else
      look_up(i8_rows(check, "table", table_VC, V, C));
    return;
  }
  check.by_element("out", out_RC, [&]<class T>(T) {
    const auto table = check.matrix<T>("table", table_VC);
    const auto out = check.matrix<T>("out", out_RC, out_RC.shape[0], table.columns);
    const std::int32_t* tokens = check.flat<std::int32_t>("tokens", tokens_R, out.rows);
    const std::size_t bytes = static_cast<std::size_t>(table.columns) * sizeof(T);
    parallel_for(threads_, out.rows, out.count(), [&](std::int64_t r) {
      const std::int64_t t = tokens[r] - vocab_begin;
      if (t >= 0 && t < table.rows)
        std::memcpy(out.row(r), table.row(t), bytes);
      else
        std::memset(out.row(r), 0, bytes);
    });
  });
}

void CpuBackend::embedding_backward(Queue, View d_table_VC, ConstView tokens_R, ConstView d_out_RC,
                                    std::int64_t vocab_begin) {
  constexpr Check check("embedding_backward");
  check.by_element("d_out", d_out_RC, [&]<class T>(T) {
    const auto d_table = check.matrix("d_table", d_table_VC);
    const auto d_out = check.matrix<T>("d_out", d_out_RC, d_out_RC.shape[0], d_table.columns);
    const std::int32_t* tokens = check.flat<std::int32_t>("tokens", tokens_R, d_out.rows);
    // Rows may hit the same token, so threads share out the columns; every sum runs in the order of the rows.
    constexpr std::int64_t strip = 64;
    const std::int64_t strips = (d_table.columns + strip - 1) / strip;
    parallel_for(threads_, strips, d_out.count(), [&](std::int64_t s) {
      const std::int64_t begin = s * strip, n = std::min(strip, d_table.columns - begin);
      for (std::int64_t r = 0; r < d_out.rows; ++r) {
        const std::int64_t t = tokens[r] - vocab_begin;
        if (t < 0 || t >= d_table.rows) continue;
        float* to = d_table.row(t) + begin;
        const T* from = d_out.row(r) + begin;
#pragma omp simd
        for (std::int64_t c = 0; c < n; ++c) to[c] += from[c];
      }
    });
  });
}

void CpuBackend::position_forward(Queue, View x_RC, ConstView position_R, ConstView table_TC) {
  constexpr Check check("position_forward");
  check.by_element("x", x_RC, [&]<class T>(T) {
    const auto table = check.matrix("table", table_TC);
    const auto x = check.matrix<T>("x", x_RC, x_RC.shape[0], table.columns);
    const std::int32_t* position = check.flat<std::int32_t>("position", position_R, x.rows);
    for (std::int64_t r = 0; r < x.rows; ++r)
      check.that(position[r] >= 0 && position[r] < table.rows, "position", "holds a number outside the table");
    parallel_for(threads_, x.rows, x.count(), [&](std::int64_t r) {
      T* to = x.row(r);
      const float* from = table.row(position[r]);
#pragma omp simd
      for (std::int64_t c = 0; c < x.columns; ++c) to[c] += from[c];
    });
  });
}

}  // namespace banyan::kernels::cpu
