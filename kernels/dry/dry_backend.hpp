// The dry backend: operations take the time that a model of a device says and compute nothing, so that whole jobs can
// be played by a simulator, or on a machine that is far too small for them.
//
// What allocate() gives is dry: no operation reads or writes it, and its pages, which nobody touches, are none of the
// machine's.  Arrays of the caller are not dry: copy, fill_zero and reduce treat them as the CPU backend does, which is
// what the few numbers that ranks agree on need.  Where an operand is dry, nothing is done.  Shapes are not checked.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "kernels/dry/dry.hpp"

namespace banyan::kernels::dry {

class DryBackend final : public Backend {
 public:
  explicit DryBackend(DryOptions options);
  ~DryBackend() override;

  std::string describe() const override;
  MemoryKind memory_kind() const override { return MemoryKind::kHost; }

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
  bool is_dry(const std::byte* p) const;
  void spend(double seconds) const;
  /// Bytes of the views that are there.
  template <class... Views>
  static double bytes_of(const Views&... views) {
    return static_cast<double>(((views ? views.bytes() : 0) + ...));
  }
  /// An operation whose time is that of moving its arguments, each as often as it is named.
  template <class... Views>
  void stream(const Views&... views) const {
    spend(bytes_of(views...) / options_.memory_rate);
  }
  /// An operation that multiplies.
  void compute(double flop, double rate, double bytes) const;

  const DryOptions options_;
  const std::unique_ptr<Backend> host_;               // for arrays that are not dry
  std::map<const std::byte*, std::size_t> reserved_;  // begin and bytes of what is dry
};

}  // namespace banyan::kernels::dry
