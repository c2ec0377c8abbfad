// Starts of the kernels, one function per operation of kernels/backend.hpp, whose meaning they share: raw pointers to
// device memory, row strides in elements, T = float or bf16 for activations, arithmetic in fp32.  They put work into
// the stream and return; the result is what the runtime said of the launch.  cuda_backend checks shapes before.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace banyan::kernels::cuda {

using std::int64_t;

/// Device memory for what one operation leaves to its next kernel; its use ends with the operation, so that one
/// workspace serves everything in one stream.
struct Workspace {
  void* data = nullptr;
  std::size_t bytes = 0;
};

// ---- narrow.cu
/// kScaleGroup of kernels/backend.hpp, which nvcc does not read.
inline constexpr int64_t kScaledTogether = 64;
/// Weights [N, K] in bf16 or i8 (kernels/backend.hpp, narrow_row_bytes).  Kernels get its members one by one.
struct NarrowMatrix {
  const unsigned char* data;
  int64_t row_bytes;
  bool integers;
};
cudaError_t embedding_forward_narrow(cudaStream_t s, float* out, const int* tokens, NarrowMatrix table, int64_t rows,
                                     int64_t vocab, int64_t columns, int64_t vocab_begin);
/// c [rows, columns] = a b^T (+ bias), in fp32; reads b once for every eight rows.
cudaError_t product_narrow(cudaStream_t s, float* c, const float* a, NarrowMatrix b, const float* bias, int64_t rows,
                           int64_t columns, int64_t inner, int64_t a_stride, int64_t c_stride);
/// out = in, to nearest, ties to even.
cudaError_t round_to_bf16(cudaStream_t s, __nv_bfloat16* out, const float* in, int64_t count);
/// out = in.
cudaError_t widen_bf16(cudaStream_t s, float* out, const __nv_bfloat16* in, int64_t count);
/// out = in as integers and scales.
cudaError_t quantize(cudaStream_t s, unsigned char* out, const float* in, int64_t rows, int64_t columns,
                     int64_t row_bytes);
/// Every row of out = values, or zero where values is null.
template <class T>
cudaError_t fill_rows(cudaStream_t s, T* out, const float* values, int64_t rows, int64_t columns, int64_t stride);

// ---- embedding.cu
template <class T>
cudaError_t embedding_forward(cudaStream_t s, T* out, const int* tokens, const T* table, int64_t rows, int64_t vocab,
                              int64_t columns, int64_t vocab_begin);
/// Bytes of workspace that embedding_backward needs.
std::size_t embedding_backward_workspace(int64_t rows);
template <class T>
cudaError_t embedding_backward(cudaStream_t s, Workspace w, float* d_table, const int* tokens, const T* d_out,
                               int64_t rows, int64_t vocab, int64_t columns, int64_t vocab_begin);
/// Rows whose position is outside of the table become NaN: a kernel cannot throw.
template <class T>
cudaError_t position_forward(cudaStream_t s, T* x, const int* position, const float* table, int64_t rows,
                             int64_t positions, int64_t columns);

// ---- norm.cu.  mean null: RMSNorm, which has no bias either.
template <class T>
cudaError_t norm_forward(cudaStream_t s, T* out, float* mean, float* rstd, const T* x, const float* weight,
                         const float* bias, int64_t rows, int64_t columns, float eps);
/// Bytes of workspace for `sums` sums of each column.
std::size_t column_sums_workspace(int sums, int64_t rows, int64_t columns);
template <class T>
cudaError_t norm_backward(cudaStream_t s, Workspace w, T* d_x, float* d_weight, float* d_bias, const T* d_out,
                          const T* x, const float* weight, const float* mean, const float* rstd, int64_t rows,
                          int64_t columns);
template <class T>
cudaError_t bias_backward(cudaStream_t s, Workspace w, float* d_bias, const T* d_out, int64_t rows, int64_t columns,
                          int64_t stride);

// ---- rotary.cu
/// Turns per position of pair i, theta^(-2i/D) / 2 pi, as the sum of two floats; computed by the host.
struct Turns {
  float high, low;
};
template <class T>
cudaError_t rotary(cudaStream_t s, T* x, const int* position, const Turns* turns, int64_t rows, int heads,
                   int head_size, int64_t stride, bool inverse);

// ---- activation.cu
template <class T>
cudaError_t gelu_forward(cudaStream_t s, T* out, const T* x, int64_t count);
template <class T>
cudaError_t gelu_backward(cudaStream_t s, T* d_x, const T* d_out, const T* x, int64_t count);
template <class T>
cudaError_t swiglu_forward(cudaStream_t s, T* out, const T* gate, const T* up, int64_t rows, int64_t columns,
                           int64_t gate_stride, int64_t up_stride);
template <class T>
cudaError_t swiglu_backward(cudaStream_t s, T* d_gate, T* d_up, const T* d_out, const T* gate, const T* up,
                            int64_t rows, int64_t columns, int64_t d_gate_stride, int64_t d_up_stride,
                            int64_t gate_stride, int64_t up_stride);
template <class T>
cudaError_t add(cudaStream_t s, T* out, const T* a, const T* b, int64_t count);
cudaError_t scale(cudaStream_t s, float* x, float factor, int64_t count);

// ---- dropout.cu.  sample and position in device memory.
template <class T>
cudaError_t dropout(cudaStream_t s, T* out, const T* x, float p, std::uint64_t key, const int64_t* sample,
                    const int* position, int64_t channel0, int64_t rows, int64_t columns);

// ---- loss.cu
template <class T>
cudaError_t cross_entropy_stats(cudaStream_t s, float* max, float* sum, float* target, const T* logits,
                                const int* targets, int64_t rows, int64_t stride, int64_t vocab_begin, int64_t valid);
cudaError_t cross_entropy_rescale(cudaStream_t s, float* sum, const float* local_max, const float* global_max,
                                  int64_t rows);
cudaError_t cross_entropy_loss(cudaStream_t s, float* loss, float* lse, const float* max, const float* sum,
                               const float* target, const int* targets, int64_t rows);
template <class T>
cudaError_t cross_entropy_backward(cudaStream_t s, T* logits, const float* lse, const int* targets, int64_t rows,
                                   int64_t columns, int64_t stride, int64_t vocab_begin, int64_t valid, float scale);

// ---- optimizer.cu
/// What AdamW's kernel is told.
struct AdamWFactors {
  float beta1, rest1, beta2, rest2, grad_scale, eps, keep, step_size, root_scale;
};
/// rounded: null, or where the parameter goes in bf16 as well.
cudaError_t adamw(cudaStream_t s, float* param, __nv_bfloat16* rounded, const float* grad, float* m, float* v,
                  int64_t count, AdamWFactors f);

// ---- reduce.cu
enum class Sum : int { kSum, kSquares, kNotFinite };
/// Bytes of workspace that `sum` needs.
std::size_t sum_workspace();
/// *out = sum over x of x, x^2, or 1 for what is not finite; in double, in an order that depends on count only.
cudaError_t sum(cudaStream_t s, Workspace w, double* out, const float* x, int64_t count, Sum what);
enum class Pairwise : int { kSum, kMax, kMin };
/// T: float, bf16, double, int, int64_t.
template <class T>
cudaError_t reduce(cudaStream_t s, T* out, const T* a, const T* b, int64_t count, Pairwise op);

}  // namespace banyan::kernels::cuda
