// The CPU backend: operations run at once on the calling thread and on the OpenMP threads of this rank.  Each family of
// operations is a file of this folder that defines its members.  One thread at a time may use a backend, because its
// scratch is shared by the operations; several backends in one process are fine.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/cpu/isa.hpp"

namespace banyan::kernels::cpu {

/// Memory that grows to the largest request and stays.
class ScratchBuffer {
 public:
  ScratchBuffer() = default;
  ~ScratchBuffer();
  ScratchBuffer(const ScratchBuffer&) = delete;
  ScratchBuffer& operator=(const ScratchBuffer&) = delete;
  /// At least `count` floats, 64-byte aligned; what was in them may be gone.
  float* floats(std::size_t count);
  std::size_t bytes() const { return bytes_; }

 private:
  float* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// cos and sin of position * theta^(-2i/D) for the positions met so far.
struct RotaryTable {
  int head_size = 0;
  float theta = 0;
  std::vector<float> cos_sin;  ///< per position D/2 cosines, then D/2 sines
  std::int64_t positions() const { return head_size ? static_cast<std::int64_t>(cos_sin.size()) / head_size : 0; }
  void cover(int head_size, float theta, std::int64_t positions);
};

class Bf16Products;

class CpuBackend final : public Backend {
 public:
  CpuBackend(int threads, Isa gemm) : threads_(threads), gemm_(gemm) {}

  std::string describe() const override;
  MemoryKind memory_kind() const override { return MemoryKind::kHost; }
  bool multiplies_bf16() const override { return cpu::multiplies_bf16(gemm_); }
  std::size_t scratch_bytes() const override;

  void* allocate(std::size_t bytes) override;
  void release(void* p, std::size_t bytes) override;
  void copy(Queue q, View out, ConstView in) override;
  void fill_zero(Queue q, View out) override;
  Event record(Queue) override { return {}; }
  void wait(Queue, Event e) override { e.wait(); }
  void synchronize(Queue) override {}

  void embedding_forward(Queue q, View out, ConstView tokens, ConstView table, std::int64_t vocab_begin) override;
  void embedding_backward(Queue q, View d_table, ConstView tokens, ConstView d_out, std::int64_t vocab_begin) override;
  void position_forward(Queue q, View x, ConstView position, ConstView table) override;

  void layernorm_forward(Queue q, View out, View mean, View rstd, ConstView x, ConstView weight, ConstView bias,
                         float eps) override;
  void layernorm_backward(Queue q, View d_x, View d_weight, View d_bias, ConstView d_out, ConstView x, ConstView weight,
                          ConstView mean, ConstView rstd) override;
  void rmsnorm_forward(Queue q, View out, View rstd, ConstView x, ConstView weight, float eps) override;
  void rmsnorm_backward(Queue q, View d_x, View d_weight, ConstView d_out, ConstView x, ConstView weight,
                        ConstView rstd) override;

  void gemm(Queue q, const Gemm& g) override;
  void from_bf16(Queue q, View out, ConstView in) override;
  void narrow(Queue q, View out, ConstView in) override;
  void bias_backward(Queue q, View d_bias, ConstView d_out) override;

  void rotary(Queue q, View x, ConstView position, int head_size, float theta, bool inverse) override;

  void attention_forward(Queue q, View out, View lse, ConstView query, ConstView key, ConstView value,
                         const Attention& a) override;
  void attention_backward(Queue q, View d_query, View d_key, View d_value, ConstView d_out, ConstView query,
                          ConstView key, ConstView value, ConstView out, ConstView lse, const Attention& a) override;

  void gelu_forward(Queue q, View out, ConstView x) override;
  void gelu_backward(Queue q, View d_x, ConstView d_out, ConstView x) override;
  void swiglu_forward(Queue q, View out, ConstView gate, ConstView up) override;
  void swiglu_backward(Queue q, View d_gate, View d_up, ConstView d_out, ConstView gate, ConstView up) override;

  void dropout(Queue q, View out, ConstView x, const Dropout& d) override;
  void add(Queue q, View out, ConstView a, ConstView b) override;

  void cross_entropy_stats(Queue q, View max, View sum, View target, ConstView logits, ConstView targets,
                           std::int64_t vocab_begin, std::int64_t valid) override;
  void cross_entropy_rescale(Queue q, View sum, ConstView local_max, ConstView global_max) override;
  void cross_entropy_loss(Queue q, View loss, View lse, ConstView max, ConstView sum, ConstView target,
                          ConstView targets) override;
  void cross_entropy_backward(Queue q, View logits, ConstView lse, ConstView targets, std::int64_t vocab_begin,
                              std::int64_t valid, float scale) override;

  void adamw(Queue q, View param, ConstView grad, View m, View v, const AdamW& h) override;
  Number sum_squares(Queue q, ConstView x) override;
  Number sum(Queue q, ConstView x) override;
  bool all_finite(Queue q, ConstView x) override;
  void scale(Queue q, View x, float factor) override;
  void reduce(Queue q, View out, ConstView a, ConstView b, ReduceOp op) override;

 private:
  void gemm_bf16(const Gemm& g);
  void gemm_narrow(const Gemm& g);

  const int threads_;
  const Isa gemm_;  ///< what oneDNN may use
  ScratchBuffer attention_scratch_, bf16_scratch_;
  ScratchBuffer narrow_left_, narrow_right_;     ///< rounded rows; widened weights
  std::shared_ptr<Bf16Products> bf16_products_;  ///< made at the first use
  RotaryTable rotary_table_;
  std::size_t gemm_packing_ = 0;  ///< most that oneDNN packed operands into during one call
};

}  // namespace banyan::kernels::cpu
