// Products of bf16 matrices, summed in fp32.
//
// Where the processor multiplies bf16, oneDNN does it: results in fp32 (gradients of weights, which accumulate) by its
// packing GEMM, results in bf16 by matmul primitives, which round as they store.  Elsewhere operands are widened and
// the product is one of fp32 (multiplies_bf16() says which).
#include <dnnl.hpp>
#include <map>

#include "kernels/cpu/check.hpp"
#include "kernels/cpu/cpu_backend.hpp"
#include "kernels/cpu/gemm_packing.hpp"
#include "kernels/cpu/narrow.hpp"
#include "kernels/cpu/omp_threads.hpp"
#include "kernels/cpu/parallel.hpp"

// A symbol of oneDNN's library that its headers leave out; weak, because another release may have dropped it.
extern "C" __attribute__((weak)) dnnl_status_t dnnl_gemm_bf16bf16f32(char transa, char transb, dnnl_dim_t M,
                                                                     dnnl_dim_t N, dnnl_dim_t K, float alpha,
                                                                     const std::uint16_t* A, dnnl_dim_t lda,
                                                                     const std::uint16_t* B, dnnl_dim_t ldb, float beta,
                                                                     float* C, dnnl_dim_t ldc);

namespace banyan::kernels::cpu {

/// oneDNN's primitives  c [M,N] bf16 = alpha * op(a) op(b) + bias, one for each set of extents.
class Bf16Products {
 public:
  struct Extents {
    std::int64_t m, n, k, a_row, a_column, b_row, b_column, c_row;  ///< strides in elements
    bool bias;
    float alpha;
    auto operator<=>(const Extents&) const = default;
  };

  void run(const Extents& e, const BF16* a, const BF16* b, const float* bias, BF16* c, ScratchBuffer& scratch) {
    using dnnl::memory;
    const auto bf16 = memory::data_type::bf16, f32 = memory::data_type::f32;
    auto found = made_.find(e);
    if (found == made_.end()) {
      if (made_.size() >= kKept) made_.clear();
      dnnl::primitive_attr attr;
      attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
      if (e.alpha != 1) attr.set_output_scales(0, {e.alpha});
      Made made{memory::desc({e.m, e.k}, bf16, {e.a_row, e.a_column}),
                memory::desc({e.k, e.n}, bf16, {e.b_row, e.b_column}),
                memory::desc({e.m, e.n}, bf16, {e.c_row, 1}),
                memory::desc({1, e.n}, f32, {e.n, 1}),
                {},
                {}};
      const auto d =
          e.bias ? dnnl::matmul::desc(made.a, made.b, made.bias, made.c) : dnnl::matmul::desc(made.a, made.b, made.c);
      const dnnl::matmul::primitive_desc described(d, attr, engine_);
      made.scratch = described.scratchpad_desc();
      made.primitive = dnnl::matmul(described);
      found = made_.emplace(e, std::move(made)).first;
    }
    Made& made = found->second;
    float* const room = scratch.floats((made.scratch.get_size() + sizeof(float) - 1) / sizeof(float));
    std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, memory(made.a, engine_, const_cast<BF16*>(a))},
                                              {DNNL_ARG_WEIGHTS, memory(made.b, engine_, const_cast<BF16*>(b))},
                                              {DNNL_ARG_DST, memory(made.c, engine_, c)},
                                              {DNNL_ARG_SCRATCHPAD, memory(made.scratch, engine_, room)}};
    if (e.bias) arguments.emplace(DNNL_ARG_BIAS, memory(made.bias, engine_, const_cast<float*>(bias)));
    made.primitive.execute(stream_, arguments);
    stream_.wait();
  }

 private:
  struct Made {
    dnnl::memory::desc a, b, c, bias, scratch;
    dnnl::matmul primitive;
  };
  static constexpr std::size_t kKept = 256;
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  std::map<Extents, Made> made_;
};

namespace {

/// out [rows, columns], contiguous = in.
void widen(int threads, Matrix<const BF16> in, float* out) {
  parallel_for(threads, in.rows, in.count(),
               [&](std::int64_t r) { widen(Bf16Row{in.row(r)}, in.columns, out + r * in.columns); });
}

Matrix<const BF16> columns_of(Matrix<const BF16> m, std::int64_t begin, std::int64_t count) {
  return {m.data + begin, m.rows, count, m.stride};
}
Matrix<const BF16> rows_of(Matrix<const BF16> m, std::int64_t begin, std::int64_t count) {
  return {m.row(begin), count, m.columns, m.stride};
}

}  // namespace

bool multiplies_bf16(Isa isa) {
  // What oneDNN was limited to counts, too.
  const auto wanted = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  return isa >= Isa::kAvx512Bf16 && dnnl_gemm_bf16bf16f32 != nullptr &&
         (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & wanted) == wanted;
}

void CpuBackend::gemm_bf16(const Gemm& g) {
  constexpr Check check("gemm");
  const bool wide = g.c.dtype == DType::kF32;
  check.that(wide || !g.accumulate, "c", "is bf16, which nothing accumulates into");
  check.that(!wide || !g.bias, "bias", "cannot be added to an fp32 product of bf16 matrices");
  const auto c32 = wide ? check.strided("c", g.c) : Matrix<float>{};
  const auto c16 = wide ? Matrix<BF16>{} : check.strided<BF16>("c", g.c);
  const std::int64_t M = g.c.shape[0], N = g.c.shape[1], K = g.transpose_a ? g.a.shape[0] : g.a.shape[1];
  const auto a = g.transpose_a ? check.strided<BF16>("a", g.a, K, M) : check.strided<BF16>("a", g.a, M, K);
  const auto b = g.transpose_b ? check.strided<BF16>("b", g.b, N, K) : check.strided<BF16>("b", g.b, K, N);
  const float* bias = g.bias ? check.flat("bias", g.bias, N) : nullptr;
  if (M == 0 || N == 0) return;
  const OmpThreads threads(threads_);
  // oneDNN would scale the bias, too.
  if (K == 0 || !multiplies_bf16() || (bias && g.alpha != 1)) {
    float* const left = bf16_scratch_.floats(bf16_packing_bytes(M, N, K, threads_) / sizeof(float));
    const std::int64_t most = std::max<std::int64_t>(16, kWidenedElements / std::max<std::int64_t>(1, K));
    float *const right = left + M * K, *const sums = right + std::min(N, most) * K;
    widen(threads_, a, left);
    for (std::int64_t n = 0; n < N; n += most) {
      const std::int64_t count = std::min(most, N - n);
      widen(threads_, g.transpose_b ? rows_of(b, n, count) : columns_of(b, n, count), right);
      gemm({}, {.c = wide ? g.c.columns(n, n + count) : View(sums, {M, count}),
                .a = ConstView(left, g.transpose_a ? Shape{K, M} : Shape{M, K}),
                .b = ConstView(right, g.transpose_b ? Shape{count, K} : Shape{K, count}),
                .transpose_a = g.transpose_a,
                .transpose_b = g.transpose_b,
                .accumulate = g.accumulate,
                .alpha = g.alpha,
                .bias = bias ? g.bias.rows(n, n + count) : ConstView()});
      if (wide) continue;
      parallel_for(threads_, M, M * count,
                   [&](std::int64_t r) { std::copy(sums + r * count, sums + (r + 1) * count, c16.row(r) + n); });
    }
    return;
  }
  const auto stride = [](const auto& m) { return std::max<std::int64_t>(1, m.stride); };
  try {
    if (!wide) {
      if (!bf16_products_) bf16_products_ = std::make_shared<Bf16Products>();
      const auto row = [&](const auto& m, bool turned) { return turned ? 1 : stride(m); };
      bf16_products_->run({M, N, K, row(a, g.transpose_a), g.transpose_a ? stride(a) : 1, row(b, g.transpose_b),
                           g.transpose_b ? stride(b) : 1, stride(c16), bias != nullptr, g.alpha},
                          a.data, b.data, bias, c16.data, bf16_scratch_);
      return;
    }
  } catch (const dnnl::error& e) {
    throw BugError("gemm: oneDNN refused bf16 [{}, {}, {}]: {}", M, N, K, e.what());
  }
  gemm_packing_ = std::max(gemm_packing_, gemm_packing_bytes(M, N, K, threads_));
  const auto bits = [](const BF16* p) { return reinterpret_cast<const std::uint16_t*>(p); };
  const int status =
      dnnl_gemm_bf16bf16f32(g.transpose_a ? 'T' : 'N', g.transpose_b ? 'T' : 'N', M, N, K, g.alpha, bits(a.data),
                            stride(a), bits(b.data), stride(b), g.accumulate ? 1.0f : 0.0f, c32.data, stride(c32));
  if (status != dnnl_success) throw BugError("gemm: oneDNN refused bf16 [{}, {}, {}] with status {}", M, N, K, status);
}

}  // namespace banyan::kernels::cpu
