// The same of the loss, the optimizer and reductions.
#include <cmath>

#include "kernels/cuda/cuda_backend.hpp"
#include "kernels/cuda/device_check.hpp"

namespace banyan::kernels::cuda {

void CudaBackend::cross_entropy_stats(Queue q, View max_R, View sum_R, View target_R, ConstView logits_RV,
                                      ConstView targets_R, int64_t vocab_begin, int64_t valid) {
  constexpr DeviceCheck check("cross_entropy_stats");
  check.for_type(logits_RV.dtype, [&]<class T>(T) {
    const auto logits = check.strided<T>("logits", logits_RV);
    const int* targets = check.flat<int>("targets", targets_R, logits.rows);
    float *max = check.flat("max", max_R, logits.rows), *sum = check.flat("sum", sum_R, logits.rows);
    float* target = check.flat("target", target_R, logits.rows);
    check.that(valid >= 0 && valid <= logits.columns, "valid", "is not a number of columns of logits");
    if (logits.rows == 0) return;
    check.must(cuda::cross_entropy_stats(stream(q), max, sum, target, logits.data, targets, logits.rows, logits.stride,
                                         vocab_begin, valid));
  });
}

void CudaBackend::cross_entropy_rescale(Queue q, View sum_R, ConstView local_max_R, ConstView global_max_R) {
  constexpr DeviceCheck check("cross_entropy_rescale");
  const int64_t rows = sum_R.count();
  float* sum = check.flat("sum", sum_R, rows);
  const float *local = check.flat("local_max", local_max_R, rows),
              *global = check.flat("global_max", global_max_R, rows);
  if (rows > 0) check.must(cuda::cross_entropy_rescale(stream(q), sum, local, global, rows));
}

void CudaBackend::cross_entropy_loss(Queue q, View loss_R, View lse_R, ConstView max_R, ConstView sum_R,
                                     ConstView target_R, ConstView targets_R) {
  constexpr DeviceCheck check("cross_entropy_loss");
  const int64_t rows = loss_R.count();
  float *loss = check.flat("loss", loss_R, rows), *lse = check.flat("lse", lse_R, rows);
  const float *max = check.flat("max", max_R, rows), *sum = check.flat("sum", sum_R, rows);
  const float* target = check.flat("target", target_R, rows);
  const int* targets = check.flat<int>("targets", targets_R, rows);
  if (rows > 0) check.must(cuda::cross_entropy_loss(stream(q), loss, lse, max, sum, target, targets, rows));
}

void CudaBackend::cross_entropy_backward(Queue q, View logits_RV, ConstView lse_R, ConstView targets_R,
                                         int64_t vocab_begin, int64_t valid, float scale) {
  constexpr DeviceCheck check("cross_entropy_backward");
  check.for_type(logits_RV.dtype, [&]<class T>(T) {
    const auto logits = check.strided<T>("logits", logits_RV);
    const float* lse = check.flat("lse", lse_R, logits.rows);
    const int* targets = check.flat<int>("targets", targets_R, logits.rows);
    check.that(valid >= 0 && valid <= logits.columns, "valid", "is not a number of columns of logits");
    if (logits.count() == 0) return;
    check.must(cuda::cross_entropy_backward(stream(q), logits.data, lse, targets, logits.rows, logits.columns,
                                            logits.stride, vocab_begin, valid, scale));
  });
}

void CudaBackend::adamw(Queue q, View param_n, ConstView grad_n, View m_n, View v_n, const kernels::AdamW& h) {
  constexpr DeviceCheck check("adamw");
  const int64_t count = param_n.count();
  float *param = check.flat("param", param_n, count), *m = check.flat("m", m_n, count),
        *v = check.flat("v", v_n, count);
  const float* grad = check.flat("grad", grad_n, count);
  auto* rounded = h.rounded ? check.flat<__nv_bfloat16>("rounded", h.rounded, count) : nullptr;
  check.that(h.step >= 1, "step", "counts from 1");
  // The bias corrections in double: 1 - beta^step loses all its digits in float while step is small.
  const double correction1 = 1.0 - std::pow(static_cast<double>(h.beta1), static_cast<double>(h.step));
  const double correction2 = 1.0 - std::pow(static_cast<double>(h.beta2), static_cast<double>(h.step));
  const AdamWFactors f{.beta1 = h.beta1,
                       .rest1 = 1.0f - h.beta1,
                       .beta2 = h.beta2,
                       .rest2 = 1.0f - h.beta2,
                       .grad_scale = h.grad_scale,
                       .eps = h.eps,
                       .keep = 1.0f - h.lr * h.weight_decay,
                       .step_size = static_cast<float>(static_cast<double>(h.lr) / correction1),
                       .root_scale = static_cast<float>(1.0 / std::sqrt(correction2))};
  if (count > 0) check.must(cuda::adamw(stream(q), param, rounded, grad, m, v, count, f));
}

Number CudaBackend::total(Queue q, const char* operation, ConstView x_n, cuda::Sum what) {
  const DeviceCheck check(operation);
  const int64_t count = x_n.count();
  if (count == 0) return std::make_shared<const double>(0);
  const float* x = check.flat("x", x_n, count);
  const Workspace w = workspace(q, operation, sum_workspace());
  if (numbers_.size() * sizeof(double) == numbers_host_.bytes()) synchronize(q);
  const std::size_t at = numbers_.size();
  double *out = static_cast<double*>(numbers_device_.get()) + at,
         *copy = static_cast<double*>(numbers_host_.get()) + at;
  check.must(cuda::sum(stream(q), w, out, x, count, what));
  check.must(cudaMemcpyAsync(copy, out, sizeof(double), cudaMemcpyDeviceToHost, stream(q)));
  return numbers_.emplace_back(std::make_shared<double>());
}

void CudaBackend::deliver_numbers() {
  const auto* values = static_cast<const double*>(numbers_host_.get());
  for (const std::shared_ptr<double>& number : numbers_) *number = *values++;
  numbers_.clear();
}

Number CudaBackend::sum_squares(Queue q, ConstView x_n) { return total(q, "sum_squares", x_n, Sum::kSquares); }
Number CudaBackend::sum(Queue q, ConstView x_n) { return total(q, "sum", x_n, Sum::kSum); }
bool CudaBackend::all_finite(Queue q, ConstView x_n) {
  const Number found = total(q, "all_finite", x_n, Sum::kNotFinite);
  synchronize(q);
  return *found == 0;
}

void CudaBackend::scale(Queue q, View x_n, float factor) {
  constexpr DeviceCheck check("scale");
  const int64_t count = x_n.count();
  float* x = check.flat("x", x_n, count);
  if (count > 0) check.must(cuda::scale(stream(q), x, factor, count));
}

void CudaBackend::reduce(Queue q, View out_n, ConstView a_n, ConstView b_n, ReduceOp op) {
  constexpr DeviceCheck check("reduce");
  const auto as = [&]<class T>(T) {
    const int64_t n = out_n.count();
    T* out = check.flat<T>("out", out_n, n);
    const T *a = check.flat<T>("a", a_n, n), *b = check.flat<T>("b", b_n, n);
    const Pairwise pairwise = op == ReduceOp::kSum   ? Pairwise::kSum
                              : op == ReduceOp::kMax ? Pairwise::kMax
                                                     : Pairwise::kMin;
    if (n > 0) check.must(cuda::reduce(stream(q), out, a, b, n, pairwise));
  };
  switch (out_n.dtype) {
    case DType::kF32:
      return as(float{});
    case DType::kBF16:
      return as(__nv_bfloat16{});
    case DType::kF64:
      return as(double{});
    case DType::kI32:
      return as(std::int32_t{});
    case DType::kI64:
      return as(std::int64_t{});
    default:
      throw BugError("reduce: there is no arithmetic for {}", name_of(out_n.dtype));
  }
}

}  // namespace banyan::kernels::cuda
