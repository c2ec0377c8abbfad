// Matrix products by oneDNN's sgemm, and sums of columns.
//
// Why sgemm and not matmul primitives: it packs its operands inside the call, block by block, so that no cache of
// primitives by shape and no buffers of packed weights are needed, and it is the fastest of oneDNN's forms at training
// shapes in all three directions (see perf/README.md for figures).
#include <dnnl.h>

#include "kernels/cpu/check.hpp"
#include "kernels/cpu/column_sums.hpp"
#include "kernels/cpu/cpu_backend.hpp"
#include "kernels/cpu/gemm_few_rows.hpp"
#include "kernels/cpu/gemm_packing.hpp"
#include "kernels/cpu/narrow.hpp"
#include "kernels/cpu/omp_threads.hpp"
#include "kernels/cpu/parallel.hpp"

namespace banyan::kernels::cpu {
namespace {

constexpr std::int64_t kColumnsWorthAThread = 256;

}  // namespace

void CpuBackend::gemm(Queue, const Gemm& g) {
  if (g.a.dtype == DType::kBF16) return gemm_bf16(g);
  if (is_narrow(g.b.dtype)) return gemm_narrow(g);
  constexpr Check check("gemm");
  const auto c = check.strided("c", g.c);
  const std::int64_t M = c.rows, N = c.columns, K = g.transpose_a ? g.a.shape[0] : g.a.shape[1];
  const auto a = g.transpose_a ? check.strided("a", g.a, K, M) : check.strided("a", g.a, M, K);
  const auto b = g.transpose_b ? check.strided("b", g.b, N, K) : check.strided("b", g.b, K, N);
  const float* bias = g.bias ? check.flat("bias", g.bias, N) : nullptr;
  check.that(!(bias && g.accumulate), "bias", "cannot be added to what is accumulated into");
  if (M == 0 || N == 0) return;
  if (M <= kFewRows && !g.transpose_a && g.transpose_b)
    return product_of_few_rows(threads_, a, F32Rows{b}, [&](std::int64_t m, std::int64_t n, float sum) {
      float& to = c.row(m)[n];
      to = (g.accumulate ? to : bias ? bias[n] : 0.0f) + g.alpha * sum;
    });
  if (bias) parallel_for(threads_, M, c.count(), [&](std::int64_t r) { std::copy(bias, bias + N, c.row(r)); });
  const bool add = bias || g.accumulate;
  if (K == 0) {
    if (!add)
      for (std::int64_t r = 0; r < M; ++r) std::fill(c.row(r), c.row(r) + N, 0.0f);
    return;
  }
  gemm_packing_ = std::max(gemm_packing_, gemm_packing_bytes(M, N, K, threads_));
  const OmpThreads threads(threads_);
  const auto columns = [&](std::int64_t begin, std::int64_t end) {
    return dnnl_sgemm(g.transpose_a ? 'T' : 'N', g.transpose_b ? 'T' : 'N', M, end - begin, K, g.alpha, a.data,
                      std::max<std::int64_t>(1, a.stride), g.transpose_b ? b.row(begin) : b.data + begin,
                      std::max<std::int64_t>(1, b.stride), add ? 1.0f : 0.0f, c.data + begin,
                      std::max<std::int64_t>(1, c.stride));
  };
  int status = dnnl_success;
  if (!g.transpose_a && g.transpose_b && threads_ > 1 && N >= kColumnsWorthAThread * threads_) {
    // oneDNN would divide a long inner extent and add up the parts, which costs a fifth at [1024, 768, 3072].
    const std::int64_t share = ((N + threads_ - 1) / threads_ + 15) / 16 * 16;
#pragma omp parallel for schedule(static, 1) num_threads(threads_) reduction(max : status)
    for (std::int64_t begin = 0; begin < N; begin += share)
      status = std::max<int>(status, columns(begin, std::min(N, begin + share)));
  } else {
    status = columns(0, N);
  }
  if (status == dnnl_out_of_memory)
    throw ConfigError(
        "there is no memory for a matrix product's {} bytes of packing; use more ranks or a smaller model",
        gemm_packing_bytes(M, N, K, threads_));
  if (status != dnnl_success) throw BugError("gemm: oneDNN refused [{}, {}, {}] with status {}", M, N, K, status);
}

void CpuBackend::bias_backward(Queue, View d_bias_C, ConstView d_out_RC) {
  constexpr Check check("bias_backward");
  check.by_element("d_out", d_out_RC, [&]<class T>(T) {
    const auto d_out = check.strided<T>("d_out", d_out_RC);
    float* d_bias = check.flat("d_bias", d_bias_C, d_out.columns);
    column_sums<1>(
        threads_, d_out.rows, d_out.columns,
        [&](std::int64_t r, std::int64_t begin, std::int64_t n, auto& part) {
          const T* g = d_out.row(r) + begin;
          float* sum = part[0];
#pragma omp simd
          for (std::int64_t c = 0; c < n; ++c) sum[c] += g[c];
        },
        [&](int, std::int64_t c, float value) { d_bias[c] += value; });
  });
}

}  // namespace banyan::kernels::cpu
