#include "perf/timed_backend.hpp"

#include <fmt/format.h>

#include <type_traits>
#include <utility>

#include "perf/peak.hpp"

namespace banyan::perf {
namespace {

using kernels::AdamW, kernels::Attention, kernels::Dropout, kernels::Gemm, kernels::ReduceOp;

class TimedBackend final : public kernels::Backend {
 public:
  TimedBackend(std::unique_ptr<kernels::Backend> device, OpTimes& times) : device_(std::move(device)), times_(times) {}

  std::string describe() const override { return device_->describe(); }
  MemoryKind memory_kind() const override { return device_->memory_kind(); }
  std::size_t scratch_bytes() const override { return device_->scratch_bytes(); }
  void* allocate(std::size_t bytes) override { return device_->allocate(bytes); }
  void release(void* p, std::size_t bytes) override { device_->release(p, bytes); }
  Event record(Queue q) override { return device_->record(q); }
  void wait(Queue q, Event e) override { device_->wait(q, std::move(e)); }
  void synchronize(Queue q) override { device_->synchronize(q); }

  void gemm(Queue q, const Gemm& g) override {
    const std::int64_t M = g.c.shape[0], N = g.c.shape[1], K = g.transpose_a ? g.a.shape[0] : g.a.shape[1];
    const std::string name =
        fmt::format("gemm {}{} [{}, {}] over {}", g.transpose_a ? 'T' : 'N', g.transpose_b ? 'T' : 'N', M, N, K);
    timed(name, [&] { device_->gemm(q, g); });
    times_[name].flops += 2.0 * static_cast<double>(M) * static_cast<double>(N) * static_cast<double>(K);
  }
  void from_bf16(Queue q, View out, ConstView in) override {
    return timed("from_bf16", [&] { return device_->from_bf16(q, out, in); });
  }
  void narrow(Queue q, View out_NK, ConstView in_NK) override {
    return timed("narrow", [&] { return device_->narrow(q, out_NK, in_NK); });
  }
  void copy(Queue q, View out, ConstView in) override {
    return timed("copy", [&] { return device_->copy(q, out, in); });
  }
  void fill_zero(Queue q, View out) override {
    return timed("fill_zero", [&] { return device_->fill_zero(q, out); });
  }
  void embedding_forward(Queue q, View out_RC, ConstView tokens_R, ConstView table_VC,
                         std::int64_t vocab_begin) override {
    return timed("embedding_forward",
                 [&] { return device_->embedding_forward(q, out_RC, tokens_R, table_VC, vocab_begin); });
  }
  void embedding_backward(Queue q, View d_table_VC, ConstView tokens_R, ConstView d_out_RC,
                          std::int64_t vocab_begin) override {
    return timed("embedding_backward",
                 [&] { return device_->embedding_backward(q, d_table_VC, tokens_R, d_out_RC, vocab_begin); });
  }
  void position_forward(Queue q, View x_RC, ConstView position_R, ConstView table_TC) override {
    return timed("position_forward", [&] { return device_->position_forward(q, x_RC, position_R, table_TC); });
  }
  void layernorm_forward(Queue q, View out_RC, View mean_R, View rstd_R, ConstView x_RC, ConstView weight_C,
                         ConstView bias_C, float eps) override {
    return timed("layernorm_forward",
                 [&] { return device_->layernorm_forward(q, out_RC, mean_R, rstd_R, x_RC, weight_C, bias_C, eps); });
  }
  void layernorm_backward(Queue q, View d_x_RC, View d_weight_C, View d_bias_C, ConstView d_out_RC, ConstView x_RC,
                          ConstView weight_C, ConstView mean_R, ConstView rstd_R) override {
    return timed("layernorm_backward", [&] {
      return device_->layernorm_backward(q, d_x_RC, d_weight_C, d_bias_C, d_out_RC, x_RC, weight_C, mean_R, rstd_R);
    });
  }
  void rmsnorm_forward(Queue q, View out_RC, View rstd_R, ConstView x_RC, ConstView weight_C, float eps) override {
    return timed("rmsnorm_forward", [&] { return device_->rmsnorm_forward(q, out_RC, rstd_R, x_RC, weight_C, eps); });
  }
  void rmsnorm_backward(Queue q, View d_x_RC, View d_weight_C, ConstView d_out_RC, ConstView x_RC, ConstView weight_C,
                        ConstView rstd_R) override {
    return timed("rmsnorm_backward",
                 [&] { return device_->rmsnorm_backward(q, d_x_RC, d_weight_C, d_out_RC, x_RC, weight_C, rstd_R); });
  }
  void bias_backward(Queue q, View d_bias_C, ConstView d_out_RC) override {
    return timed("bias_backward", [&] { return device_->bias_backward(q, d_bias_C, d_out_RC); });
  }
  void rotary(Queue q, View x_RHD, ConstView position_R, int head_size, float theta, bool inverse) override {
    return timed("rotary", [&] { return device_->rotary(q, x_RHD, position_R, head_size, theta, inverse); });
  }
  void attention_forward(Queue q, View out, View lse, ConstView query, ConstView key, ConstView value,
                         const Attention& a) override {
    return timed("attention_forward", [&] { return device_->attention_forward(q, out, lse, query, key, value, a); });
  }
  void attention_backward(Queue q, View d_query, View d_key, View d_value, ConstView d_out, ConstView query,
                          ConstView key, ConstView value, ConstView out, ConstView lse, const Attention& a) override {
    return timed("attention_backward", [&] {
      return device_->attention_backward(q, d_query, d_key, d_value, d_out, query, key, value, out, lse, a);
    });
  }
  void gelu_forward(Queue q, View out_RF, ConstView x_RF) override {
    return timed("gelu_forward", [&] { return device_->gelu_forward(q, out_RF, x_RF); });
  }
  void gelu_backward(Queue q, View d_x_RF, ConstView d_out_RF, ConstView x_RF) override {
    return timed("gelu_backward", [&] { return device_->gelu_backward(q, d_x_RF, d_out_RF, x_RF); });
  }
  void swiglu_forward(Queue q, View out_RF, ConstView gate_RF, ConstView up_RF) override {
    return timed("swiglu_forward", [&] { return device_->swiglu_forward(q, out_RF, gate_RF, up_RF); });
  }
  void swiglu_backward(Queue q, View d_gate_RF, View d_up_RF, ConstView d_out_RF, ConstView gate_RF,
                       ConstView up_RF) override {
    return timed("swiglu_backward",
                 [&] { return device_->swiglu_backward(q, d_gate_RF, d_up_RF, d_out_RF, gate_RF, up_RF); });
  }
  void dropout(Queue q, View out_RC, ConstView x_RC, const Dropout& d) override {
    return timed("dropout", [&] { return device_->dropout(q, out_RC, x_RC, d); });
  }
  void add(Queue q, View out, ConstView a, ConstView b) override {
    return timed("add", [&] { return device_->add(q, out, a, b); });
  }
  void cross_entropy_stats(Queue q, View max_R, View sum_R, View target_R, ConstView logits_RV, ConstView targets_R,
                           std::int64_t vocab_begin, std::int64_t valid) override {
    return timed("cross_entropy_stats", [&] {
      return device_->cross_entropy_stats(q, max_R, sum_R, target_R, logits_RV, targets_R, vocab_begin, valid);
    });
  }
  void cross_entropy_rescale(Queue q, View sum_R, ConstView local_max_R, ConstView global_max_R) override {
    return timed("cross_entropy_rescale",
                 [&] { return device_->cross_entropy_rescale(q, sum_R, local_max_R, global_max_R); });
  }
  void cross_entropy_loss(Queue q, View loss_R, View lse_R, ConstView max_R, ConstView sum_R, ConstView target_R,
                          ConstView targets_R) override {
    return timed("cross_entropy_loss",
                 [&] { return device_->cross_entropy_loss(q, loss_R, lse_R, max_R, sum_R, target_R, targets_R); });
  }
  void cross_entropy_backward(Queue q, View logits_RV, ConstView lse_R, ConstView targets_R, std::int64_t vocab_begin,
                              std::int64_t valid, float scale) override {
    return timed("cross_entropy_backward", [&] {
      return device_->cross_entropy_backward(q, logits_RV, lse_R, targets_R, vocab_begin, valid, scale);
    });
  }
  void adamw(Queue q, View param, ConstView grad, View m, View v, const AdamW& h) override {
    return timed("adamw", [&] { return device_->adamw(q, param, grad, m, v, h); });
  }
  kernels::Number sum_squares(Queue q, ConstView x) override {
    return timed("sum_squares", [&] { return device_->sum_squares(q, x); });
  }
  kernels::Number sum(Queue q, ConstView x) override {
    return timed("sum", [&] { return device_->sum(q, x); });
  }
  bool all_finite(Queue q, ConstView x) override {
    return timed("all_finite", [&] { return device_->all_finite(q, x); });
  }
  void scale(Queue q, View x, float factor) override {
    return timed("scale", [&] { return device_->scale(q, x, factor); });
  }
  void reduce(Queue q, View out, ConstView a, ConstView b, ReduceOp op) override {
    return timed("reduce", [&] { return device_->reduce(q, out, a, b, op); });
  }

 private:
  class Stopwatch {
   public:
    explicit Stopwatch(OpTime& op) : op_(op), begin_(now()) {}
    ~Stopwatch() {
      op_.seconds += now() - begin_;
      ++op_.calls;
    }
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;

   private:
    OpTime& op_;
    double begin_;
  };

  template <class Call>
  std::invoke_result_t<Call> timed(const std::string& name, const Call& call) {
    const Stopwatch stopwatch(times_[name]);
    return call();
  }

  const std::unique_ptr<kernels::Backend> device_;
  OpTimes& times_;
};

}  // namespace

std::unique_ptr<kernels::Backend> make_timed_backend(std::unique_ptr<kernels::Backend> device, OpTimes& times) {
  return std::make_unique<TimedBackend>(std::move(device), times);
}

}  // namespace banyan::perf
