#include <tuple>

#include "tests/kernels/op_cases.hpp"

namespace banyan::kernels::test {

std::vector<OpCase> small_cases() {
  std::vector<OpCase> c;
  for (const bool strided : {false, true})
    for (const char* t : {"NN", "NT", "TN", "TT"}) {
      c.push_back(gemm(t[0], t[1], 1, 1, 1, {.strided = strided}));
      c.push_back(gemm(t[0], t[1], 1, 33, 65, {.bias = true, .strided = strided}));
      c.push_back(gemm(t[0], t[1], 37, 1, 9, {.accumulate = true, .strided = strided}));
      c.push_back(gemm(t[0], t[1], 67, 45, 129, {.strided = strided, .alpha = 0.37f}));
      c.push_back(gemm(t[0], t[1], 130, 77, 50, {.accumulate = true, .strided = strided, .alpha = -2}));
      c.push_back(gemm(t[0], t[1], 16, 100, 0, {.bias = true, .strided = strided}));
    }
  c.push_back(gemm('N', 'T', 33, 1025, 70, {.bias = true, .strided = true}));  // columns for each thread
  c.push_back(gemm('N', 'T', 40, 600, 33, {.accumulate = true}));
  for (const std::int64_t rows : {1, 2, 3, 4, 6, 11, 16, 17})
    c.push_back(gemm('N', 'T', rows, 25, 83, {.bias = true, .strided = rows % 2 == 1, .alpha = 0.5f}));
  for (const bool strided : {false, true})
    for (const auto& [m, n, k] : {std::tuple{1, 1, 1}, {5, 24, 33}, {37, 40, 64}, {70, 45, 129}, {9, 16, 0}}) {
      c.push_back(gemm_gelu(m, n, k, strided, strided));
      c.push_back(gemm_gelu(m, n, k, !strided, strided));
      c.push_back(gemm_gelu_backward(m, n, k, strided));
      c.push_back(gemm_bias_backward(k, m, n, strided));
    }
  for (const auto& [r, k] : {std::pair{1, 1}, {1, 200}, {7, 33}, {200, 129}, {130, 300}}) {
    for (const bool strided : {false, true}) {
      c.push_back(bias_backward(r, k, strided));
      c.push_back(copy(r, k, strided));
      c.push_back(fill_zero(r, k, strided));
      c.push_back(swiglu_forward(r, k, strided));
      c.push_back(swiglu_backward(r, k, strided));
    }
    c.push_back(layernorm_forward(r, k));
    c.push_back(layernorm_backward(r, k));
    c.push_back(rmsnorm_forward(r, k));
    c.push_back(rmsnorm_backward(r, k));
    c.push_back(gelu_forward(r, k));
    c.push_back(gelu_backward(r, k));
    c.push_back(add(r, k));
    c.push_back(dropout(r, k, 0.1f));
    c.push_back(dropout(r, k, 0.5f, 1234567));
    c.push_back(dropout(r, k, 0.3f, (std::int64_t{1} << 40) + 2));
    c.push_back(dropout(r, k, 0));
    c.push_back(embedding_forward(r, 11, k));
    c.push_back(embedding_forward(r, 11, k, 22));
    c.push_back(embedding_backward(r, 11, k));
    c.push_back(embedding_backward(r, 11, k, 22));
    c.push_back(position_forward(r, 9, k));
    c.push_back(cross_entropy_stats(r, k, k));
    c.push_back(cross_entropy_backward(r, k, k));
  }
  c.push_back(embedding_backward(600, 7, 3));  // chains of tokens over several blocks of a GPU
  c.push_back(copy(700, 513));
  c.push_back(fill_zero(700, 513));
  c.push_back(cross_entropy_stats(9, 50, 47, 100));
  c.push_back(cross_entropy_stats(3, 5003, 5001));
  c.push_back(cross_entropy_backward(9, 50, 47, 100));
  c.push_back(cross_entropy_backward(9, 50, 47));
  c.push_back(cross_entropy_rescale(13));
  c.push_back(cross_entropy_loss(13));
  for (const bool inverse : {false, true}) {
    c.push_back(rotary(1, 1, 2, inverse));
    c.push_back(rotary(9, 3, 6, inverse));
    c.push_back(rotary(70, 4, 64, inverse));
  }
  for (const auto n : {1, 15, 4097, 50000}) {
    c.push_back(adamw(n, 1));
    c.push_back(adamw(n, 1000));
    c.push_back(sum_squares(n));
    c.push_back(sum(n));
    c.push_back(scale(n));
    c.push_back(all_finite(n));
    c.push_back(all_finite(n, n - 1));
    for (const DType t : {DType::kF32, DType::kBF16, DType::kF64, DType::kI32, DType::kI64})
      for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
        c.push_back(reduce(n, t, op));
        c.push_back(reduce_apart(n, t, op));
      }
  }
  c.push_back(sum_squares(3000001));

  std::vector<AttentionShape> trainable = {
      whole_sequences(1, 1, 1, 1, 1),
      whole_sequences(2, 2, 8, 1, 5),
      whole_sequences(4, 2, 16, 2, 33),
      whole_sequences(6, 2, 20, 1, 129),
      whole_sequences(3, 1, 64, 2, 100),
      whole_sequences(2, 2, 13, 1, 40),
      {4, 2, 8, {3, 0, 17, 1, 40}, {3, 0, 17, 1, 40}, {0, 0, 0, 0, 0}},  // packed, of different lengths
      {2, 1, 16, {10, 35}, {50, 130}, {40, 95}},                         // keys before the first query
  };
  for (std::size_t i = 0; i < trainable.size(); ++i) {
    AttentionShape s = trainable[i];
    c.push_back(attention_forward(s));
    c.push_back(attention_backward(s));
    s.strided = true;
    s.dropout = 0.25f;
    s.head0 = 3;
    c.push_back(attention_forward(s));
    c.push_back(attention_backward(s));
  }
  for (const std::int32_t block : {1, 4, 16, 200}) {
    // Several parts of keys, heads of a group in more than one turn, channels beside whole vectors.
    c.push_back(attention_forward({10, 2, 40, {1, 3, 1}, {1100, 70, 33}, {1099, 66, 32}, block == 4, block}));
    c.push_back(attention_forward({4, 2, 16, {1, 1, 1}, {1, 30, 131}, {0, 29, 130}, false, block}));
    c.push_back(attention_forward({2, 2, 12, {7, 40}, {7, 100}, {0, 60}, true, block}));
  }
  for (std::size_t i = 0, fp32 = c.size(); i < fp32; ++i)
    // The gradient of a query that sees one key is zero: nothing but the roundings of what cancels out.
    if (has_activations(c[i]) && c[i].name() != "attention_backward H1 G1 D1 q1 k1 strided dropout")
      c.push_back(in_bf16(c[i]));
  return c;
}

std::vector<OpCase> bench_cases() {
  std::vector<OpCase> c;
  // GPT-2 124M, 4 x 256 tokens: every matrix forward, towards the input, towards the weight.
  for (const auto& [n, k] : {std::pair{2304, 768}, {768, 768}, {3072, 768}, {768, 3072}}) {
    c.push_back(gemm('N', 'T', 1024, n, k, {.bias = true}));
    c.push_back(gemm('N', 'N', 1024, k, n));
    c.push_back(gemm('T', 'N', n, k, 1024, {.accumulate = true}));
  }
  c.push_back(gemm_gelu(1024, 3072, 768, true));
  c.push_back(gemm_gelu_backward(1024, 3072, 768));
  c.push_back(gemm_bias_backward(1024, 3072, 768));
  c.push_back(gemm('N', 'T', 512, 50257, 768));
  c.push_back(gemm('N', 'N', 512, 768, 50257));
  c.push_back(gemm('T', 'N', 50257, 768, 512, {.accumulate = true}));
  for (const std::int64_t rows : {1, 8, 16}) {  // generation
    c.push_back(gemm('N', 'T', rows, 3072, 768, {.bias = true}));
    c.push_back(gemm('N', 'T', rows, 50257, 768));
  }
  for (AttentionShape s : {whole_sequences(12, 12, 64, 4, 256), whole_sequences(12, 12, 64, 1, 1024),
                           whole_sequences(32, 8, 64, 1, 1024)}) {
    s.strided = true;
    c.push_back(attention_forward(s));
    c.push_back(attention_backward(s));
  }
  AttentionShape dropped = whole_sequences(12, 12, 64, 4, 256);
  dropped.strided = true;
  dropped.dropout = 0.1f;
  c.push_back(attention_forward(dropped));
  c.push_back(attention_forward({12, 12, 64, {1, 1, 1, 1}, {900, 900, 900, 900}, {899, 899, 899, 899}, false, 32}));
  c.push_back(layernorm_forward(1024, 768));
  c.push_back(layernorm_backward(1024, 768));
  c.push_back(rmsnorm_forward(1024, 2048));
  c.push_back(rmsnorm_backward(1024, 2048));
  c.push_back(gelu_forward(1024, 3072));
  c.push_back(gelu_backward(1024, 3072));
  c.push_back(swiglu_forward(1024, 5632, true));
  c.push_back(swiglu_backward(1024, 5632, true));
  c.push_back(bias_backward(1024, 3072));
  c.push_back(add(1024, 768));
  c.push_back(dropout(1024, 768, 0.1f));
  c.push_back(rotary(1024, 32, 64, false));
  c.push_back(embedding_forward(1024, 50257, 768));
  c.push_back(embedding_backward(1024, 50257, 768));
  c.push_back(position_forward(1024, 1024, 768));
  c.push_back(cross_entropy_stats(256, 50257, 50257));
  c.push_back(cross_entropy_backward(256, 50257, 50257));
  c.push_back(adamw(16 << 20, 100));
  c.push_back(sum_squares(16 << 20));
  c.push_back(sum(16 << 20));
  c.push_back(all_finite(16 << 20));
  c.push_back(scale(16 << 20));
  c.push_back(reduce(16 << 20, DType::kF32, ReduceOp::kSum));
  c.push_back(reduce_apart(16 << 20, DType::kF32, ReduceOp::kSum));
  c.push_back(copy(4096, 4096));
  c.push_back(fill_zero(4096, 4096));
  for (std::size_t i = 0, fp32 = c.size(); i < fp32; ++i)
    if (has_activations(c[i]) && c[i].op != "copy" && c[i].op != "fill_zero") c.push_back(in_bf16(c[i]));
  return c;
}

}  // namespace banyan::kernels::test
