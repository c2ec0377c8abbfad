// Matrix products: what cuBLASLt computes and what kernels of ours do beside it, narrow weights.
#include "kernels/cuda/cuda_backend.hpp"
#include "kernels/cuda/device_check.hpp"

namespace banyan::kernels::cuda {

using Epilogue = Products::Epilogue;

namespace {

static_assert(kScaledTogether == kScaleGroup);

/// A narrow matrix [rows, columns], checked.
template <class View>
auto narrow_matrix(const DeviceCheck& check, const char* name, const View& v, int64_t rows, int64_t columns) {
  const bool integers = v.dtype == DType::kI8;
  check.that(integers || v.dtype == DType::kBF16, name, "is neither bf16 nor i8");
  check.that(v.kind == MemoryKind::kDevice || v.count() == 0, name, "lies in host memory");
  check.that(v.shape.rank() == 2 && v.shape[0] == rows && v.shape[1] == columns, name, "has another shape");
  check.that(v.data || rows * columns == 0, name, "is missing");
  if (integers)
    check.that(v.row_stride == narrow_row_bytes(DType::kI8, columns), name, "has no scales behind its rows");
  else
    check.that(rows <= 1 || v.row_stride >= columns, name, "has rows that overlap");
  return NarrowMatrix{reinterpret_cast<const unsigned char*>(v.data),
                      v.row_stride * static_cast<int64_t>(size_of(v.dtype)), integers};
}

}  // namespace

void CudaBackend::gemm(Queue q, const Gemm& g) {
  if (g.a.dtype == DType::kF32 && g.b.dtype != DType::kF32) return gemm_narrow(q, g);
  multiply(q, g, Epilogue::kNone, {});
}

// In fp32 GELU is a kernel of ours: how exact cuBLASLt's is, it does not say.
void CudaBackend::gemm_gelu(Queue q, const Gemm& g, View active) {
  Gemm fused = g;
  fused.c = active;
  if (g.c.dtype != DType::kBF16 || !multiply(q, fused, Epilogue::kGelu, g.c)) Backend::gemm_gelu(q, g, active);
}

void CudaBackend::gemm_gelu_backward(Queue q, const Gemm& g, ConstView x) {
  // What is beside this product is only read.
  View beside(const_cast<std::byte*>(x.data), x.dtype, x.shape, x.kind);
  beside.row_stride = x.row_stride;
  if (g.c.dtype != DType::kBF16 || !multiply(q, g, Epilogue::kGeluBackward, beside))
    Backend::gemm_gelu_backward(q, g, x);
}

// cuBLASLt overwrites the gradient of a bias, and gives it the type of c: of fp32 here, as it is accumulated in.  It
// could make this one beside GELU's backward pass, too, but there in bf16.
void CudaBackend::gemm_bias_backward(Queue q, const Gemm& g, View d_bias) {
  constexpr DeviceCheck check("gemm_bias_backward");
  check.that(g.transpose_a, "a", "is not transposed: bias gradients are made of an output's gradient");
  const int64_t count = g.a.shape[1];
  float* sum = check.flat("d_bias", d_bias, count);
  const Workspace w = workspace(q, "gemm_bias_backward", static_cast<std::size_t>(count) * sizeof(float));
  auto* terms = static_cast<float*>(w.data);
  const View beside(reinterpret_cast<std::byte*>(terms), DType::kF32, {count}, MemoryKind::kDevice);
  if (g.alpha != 1 || !multiply(q, g, Epilogue::kBiasGradient, beside))
    return Backend::gemm_bias_backward(q, g, d_bias);
  check.must(cuda::reduce(stream(q), sum, sum, terms, count, Pairwise::kSum));
}

bool CudaBackend::multiply(Queue q, const Gemm& g, Epilogue epilogue, View beside_c) {
  constexpr DeviceCheck check("gemm");
  check.that(stream(q) == compute_.get(), "queue", "is not the default one, whose workspace products use");
  check.that(!(g.bias && g.accumulate), "bias", "cannot be added to what is accumulated into");
  const auto compute = [&]<class In, class Out>(In, Out) {
    const auto c = check.strided<Out>("c", g.c);
    const int64_t M = c.rows, N = c.columns, K = g.transpose_a ? g.a.shape[0] : g.a.shape[1];
    const auto a = g.transpose_a ? check.strided<In>("a", g.a, K, M) : check.strided<In>("a", g.a, M, K);
    const auto b = g.transpose_b ? check.strided<In>("b", g.b, N, K) : check.strided<In>("b", g.b, K, N);
    const float* bias = g.bias ? check.flat("bias", g.bias, N) : nullptr;
    void* beside = nullptr;
    int64_t beside_stride = 0;
    if (epilogue == Epilogue::kBiasGradient) {
      beside = check.flat<Out>("beside", beside_c, M);
    } else if (epilogue != Epilogue::kNone) {
      check.that(!g.accumulate, "c", "is accumulated into, which GELU's products are not");
      const auto matrix = check.strided<Out>("beside", beside_c, M, N);
      beside = matrix.data;
      beside_stride = matrix.stride;
    }
    if (epilogue != Epilogue::kNone && (M == 0 || N == 0 || K == 0)) return false;
    if (M == 0 || N == 0) return true;
    if (K == 0) {
      if (!g.accumulate) check.must(fill_rows(stream(q), c.data, bias, M, N, c.stride));
      return true;
    }
    // cuBLASLt takes a bias of the result's type only.
    const void* bias_like_c = bias;
    if (bias && dtype_of<Out> == DType::kBF16) {
      const Workspace w = workspace(q, "gemm", static_cast<std::size_t>(N) * sizeof(__nv_bfloat16));
      check.must(round_to_bf16(stream(q), static_cast<__nv_bfloat16*>(w.data), bias, N));
      bias_like_c = w.data;
    }
    return products_.run(stream(q), {.m = M,
                                     .n = N,
                                     .k = K,
                                     .transpose_a = g.transpose_a,
                                     .transpose_b = g.transpose_b,
                                     .in = dtype_of<In>,
                                     .out = dtype_of<Out>,
                                     .a = a.data,
                                     .b = b.data,
                                     .c = c.data,
                                     .a_stride = a.stride,
                                     .b_stride = b.stride,
                                     .c_stride = c.stride,
                                     .bias = bias_like_c,
                                     .alpha = g.alpha,
                                     .accumulate = g.accumulate,
                                     .epilogue = epilogue,
                                     .beside = beside,
                                     .beside_stride = beside_stride});
  };
  bool done = true;
  check.for_type(g.a.dtype, [&]<class In>(In in) {
    if (g.c.dtype == DType::kF32) {
      check.that(g.a.dtype == DType::kF32 || !g.bias, "bias", "of bf16 matrices needs a bf16 c");
      done = compute(in, float{});
      return;
    }
    check.that(g.a.dtype == DType::kBF16, "c", "is of another type than a");
    check.that(!g.accumulate, "c", "is bf16, which nothing accumulates into");
    done = compute(in, __nv_bfloat16{});
  });
  return done;
}

void CudaBackend::gemm_narrow(Queue q, const Gemm& g) {
  constexpr DeviceCheck check("gemm");
  check.that(!g.transpose_a && g.transpose_b && !g.accumulate && g.alpha == 1, "b",
             "is narrow, and narrow weights only take part in c = a b^T + bias");
  const auto c = check.strided("c", g.c);
  const int64_t M = c.rows, N = c.columns, K = g.a.shape[1];
  const auto a = check.strided("a", g.a, M, K);
  const float* bias = g.bias ? check.flat("bias", g.bias, N) : nullptr;
  const NarrowMatrix b = narrow_matrix(check, "b", g.b, N, K);
  if (M == 0 || N == 0) return;
  if (K == 0) return check.must(fill_rows(stream(q), c.data, bias, M, N, c.stride));
  check.must(product_narrow(stream(q), c.data, a.data, b, bias, M, N, K, a.stride, c.stride));
}

void CudaBackend::narrow(Queue q, View out_NK, ConstView in_NK) {
  constexpr DeviceCheck check("narrow");
  const auto in = check.matrix("in", in_NK);
  narrow_matrix(check, "out", out_NK, in.rows, in.columns);
  if (in.count() == 0) return;
  if (out_NK.dtype == DType::kI8)
    return check.must(quantize(stream(q), reinterpret_cast<unsigned char*>(out_NK.data), in.data, in.rows, in.columns,
                               out_NK.row_stride));
  auto* out = check.matrix<__nv_bfloat16>("out", out_NK).data;
  check.must(round_to_bf16(stream(q), out, in.data, in.count()));
}

void CudaBackend::from_bf16(Queue q, View out, ConstView in) {
  constexpr DeviceCheck check("from_bf16");
  const int64_t n = out.count();
  float* to = check.flat("out", out, n);
  const auto* from = check.flat<__nv_bfloat16>("in", in, n);
  if (n > 0) check.must(widen_bf16(stream(q), to, from, n));
}

void CudaBackend::look_up_narrow(Queue q, View out_RC, ConstView tokens_R, ConstView table_VC, int64_t vocab_begin) {
  constexpr DeviceCheck check("embedding_forward");
  const int64_t V = table_VC.shape[0], C = table_VC.shape[1];
  const NarrowMatrix table = narrow_matrix(check, "table", table_VC, V, C);
  const auto out = check.matrix("out", out_RC, out_RC.shape[0], C);
  const int* tokens = check.flat<int>("tokens", tokens_R, out.rows);
  if (out.count() == 0) return;
  check.must(embedding_forward_narrow(stream(q), out.data, tokens, table, out.rows, V, C, vocab_begin));
}

}  // namespace banyan::kernels::cuda
