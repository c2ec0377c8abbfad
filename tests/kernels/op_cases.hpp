// Every operation of the backend, once: a function that makes a case of given shapes.  Tests run small_cases(), whose
// shapes are odd on purpose; `bench ops` runs bench_cases(), whose shapes are those of real models.
#pragma once

#include <vector>

#include "tests/kernels/op_case.hpp"

namespace banyan::kernels::test {

struct GemmOptions {
  bool accumulate = false, bias = false, strided = false;
  float alpha = 1;
};
OpCase gemm(char a, char b, std::int64_t m, std::int64_t n, std::int64_t k, const GemmOptions& options = {});
OpCase bias_backward(std::int64_t rows, std::int64_t columns, bool strided = false);
OpCase gemm_gelu(std::int64_t m, std::int64_t n, std::int64_t k, bool bias, bool strided = false);
OpCase gemm_gelu_backward(std::int64_t m, std::int64_t n, std::int64_t k, bool strided = false);
OpCase gemm_bias_backward(std::int64_t rows, std::int64_t outputs, std::int64_t inputs, bool strided = false);
OpCase copy(std::int64_t rows, std::int64_t columns, bool strided = false);
OpCase fill_zero(std::int64_t rows, std::int64_t columns, bool strided = false);
OpCase embedding_forward(std::int64_t rows, std::int64_t vocab, std::int64_t columns, std::int64_t vocab_begin = 0);
OpCase embedding_backward(std::int64_t rows, std::int64_t vocab, std::int64_t columns, std::int64_t vocab_begin = 0);
OpCase position_forward(std::int64_t rows, std::int64_t positions, std::int64_t columns);
OpCase layernorm_forward(std::int64_t rows, std::int64_t columns);
OpCase layernorm_backward(std::int64_t rows, std::int64_t columns);
OpCase rmsnorm_forward(std::int64_t rows, std::int64_t columns);
OpCase rmsnorm_backward(std::int64_t rows, std::int64_t columns);
OpCase rotary(std::int64_t rows, std::int64_t heads, int head_size, bool inverse);
OpCase gelu_forward(std::int64_t rows, std::int64_t columns);
OpCase gelu_backward(std::int64_t rows, std::int64_t columns);
OpCase swiglu_forward(std::int64_t rows, std::int64_t columns, bool strided = false);
OpCase swiglu_backward(std::int64_t rows, std::int64_t columns, bool strided = false);
OpCase dropout(std::int64_t rows, std::int64_t columns, float p, std::int64_t channel0 = 0);
OpCase add(std::int64_t rows, std::int64_t columns);
OpCase cross_entropy_stats(std::int64_t rows, std::int64_t columns, std::int64_t valid, std::int64_t vocab_begin = 0);
OpCase cross_entropy_rescale(std::int64_t rows);
OpCase cross_entropy_loss(std::int64_t rows);
OpCase cross_entropy_backward(std::int64_t rows, std::int64_t columns, std::int64_t valid,
                              std::int64_t vocab_begin = 0);
OpCase adamw(std::int64_t count, std::int64_t step);
OpCase sum_squares(std::int64_t count);
OpCase sum(std::int64_t count);
OpCase all_finite(std::int64_t count, std::int64_t bad_element = -1);
OpCase scale(std::int64_t count);
OpCase reduce(std::int64_t count, DType dtype, ReduceOp op);
/// Into a third tensor.
OpCase reduce_apart(std::int64_t count, DType dtype, ReduceOp op);

struct AttentionShape {
  int heads = 1, kv_heads = 1, head_size = 8;
  std::vector<std::int32_t> queries, keys, positions;  ///< per sequence
  bool strided = false;
  std::int32_t block_size = 0;  ///< > 0: keys in scattered blocks
  float dropout = 0;
  std::int64_t head0 = 0;  ///< global number of the first head
  std::string str() const;
};
/// `count` sequences of `length`, all of them from their first token.
AttentionShape whole_sequences(int heads, int kv_heads, int head_size, int count, std::int32_t length);
OpCase attention_forward(const AttentionShape& shape);
OpCase attention_backward(const AttentionShape& shape);

std::vector<OpCase> small_cases();
std::vector<OpCase> bench_cases();

}  // namespace banyan::kernels::test
