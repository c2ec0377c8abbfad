// What the operations of a block are given, checked, and the kernels started for the type of their elements.
#include "kernels/cuda/ops.hpp"

#include <cmath>
#include <numbers>
#include <vector>

#include "kernels/cuda/cuda_backend.hpp"
#include "kernels/cuda/device_check.hpp"

namespace banyan::kernels::cuda {
void CudaBackend::embedding_forward(Queue q, View out_RC, ConstView tokens_R, ConstView table_VC, int64_t vocab_begin) {
  if (out_RC.dtype == DType::kF32 && table_VC.dtype != DType::kF32)
    return look_up_narrow(q, out_RC, tokens_R, table_VC, vocab_begin);
  constexpr DeviceCheck check("embedding_forward");
  check.for_type(table_VC.dtype, [&]<class T>(T) {
    const auto table = check.matrix<T>("table", table_VC);
    const auto out = check.matrix<T>("out", out_RC, out_RC.shape[0], table.columns);
    const int* tokens = check.flat<int>("tokens", tokens_R, out.rows);
    if (out.count() == 0) return;
    check.must(cuda::embedding_forward(stream(q), out.data, tokens, table.data, out.rows, table.rows, out.columns,
                                       vocab_begin));
  });
}

void CudaBackend::embedding_backward(Queue q, View d_table_VC, ConstView tokens_R, ConstView d_out_RC,
                                     int64_t vocab_begin) {
  constexpr DeviceCheck check("embedding_backward");
  check.for_type(d_out_RC.dtype, [&]<class T>(T) {
    const auto d_table = check.matrix("d_table", d_table_VC);
    const auto d_out = check.matrix<T>("d_out", d_out_RC, d_out_RC.shape[0], d_table.columns);
    const int* tokens = check.flat<int>("tokens", tokens_R, d_out.rows);
    if (d_out.count() == 0) return;
    const Workspace w = workspace(q, "embedding_backward", embedding_backward_workspace(d_out.rows));
    check.must(cuda::embedding_backward(stream(q), w, d_table.data, tokens, d_out.data, d_out.rows, d_table.rows,
                                        d_out.columns, vocab_begin));
  });
}

void CudaBackend::position_forward(Queue q, View x_RC, ConstView position_R, ConstView table_TC) {
  constexpr DeviceCheck check("position_forward");
  const auto table = check.matrix("table", table_TC);
  check.for_type(x_RC.dtype, [&]<class T>(T) {
    const auto x = check.matrix<T>("x", x_RC, x_RC.shape[0], table.columns);
    const int* position = check.flat<int>("position", position_R, x.rows);
    if (x.count() == 0) return;
    check.must(cuda::position_forward(stream(q), x.data, position, table.data, x.rows, table.rows, x.columns));
  });
}

void CudaBackend::layernorm_forward(Queue q, View out_RC, View mean_R, View rstd_R, ConstView x_RC, ConstView weight_C,
                                    ConstView bias_C, float eps) {
  constexpr DeviceCheck check("layernorm_forward");
  check.for_type(x_RC.dtype, [&]<class T>(T) {
    const auto x = check.matrix<T>("x", x_RC);
    const auto out = check.matrix<T>("out", out_RC, x.rows, x.columns);
    float *mean = check.flat("mean", mean_R, x.rows), *rstd = check.flat("rstd", rstd_R, x.rows);
    const float *weight = check.flat("weight", weight_C, x.columns), *bias = check.flat("bias", bias_C, x.columns);
    if (x.count() == 0) return;
    check.must(norm_forward(stream(q), out.data, mean, rstd, x.data, weight, bias, x.rows, x.columns, eps));
  });
}

void CudaBackend::layernorm_backward(Queue q, View d_x_RC, View d_weight_C, View d_bias_C, ConstView d_out_RC,
                                     ConstView x_RC, ConstView weight_C, ConstView mean_R, ConstView rstd_R) {
  constexpr DeviceCheck check("layernorm_backward");
  check.for_type(x_RC.dtype, [&]<class T>(T) {
    const auto x = check.matrix<T>("x", x_RC);
    const auto d_x = check.matrix<T>("d_x", d_x_RC, x.rows, x.columns);
    const auto d_out = check.matrix<T>("d_out", d_out_RC, x.rows, x.columns);
    float* d_weight = check.flat("d_weight", d_weight_C, x.columns);
    float* d_bias = check.flat("d_bias", d_bias_C, x.columns);
    const float* weight = check.flat("weight", weight_C, x.columns);
    const float *mean = check.flat("mean", mean_R, x.rows), *rstd = check.flat("rstd", rstd_R, x.rows);
    if (x.count() == 0) return;
    const Workspace w = workspace(q, "layernorm_backward", column_sums_workspace(2, x.rows, x.columns));
    check.must(norm_backward(stream(q), w, d_x.data, d_weight, d_bias, d_out.data, x.data, weight, mean, rstd, x.rows,
                             x.columns));
  });
}

void CudaBackend::rmsnorm_forward(Queue q, View out_RC, View rstd_R, ConstView x_RC, ConstView weight_C, float eps) {
  constexpr DeviceCheck check("rmsnorm_forward");
  check.for_type(x_RC.dtype, [&]<class T>(T) {
    const auto x = check.matrix<T>("x", x_RC);
    const auto out = check.matrix<T>("out", out_RC, x.rows, x.columns);
    float* rstd = check.flat("rstd", rstd_R, x.rows);
    const float* weight = check.flat("weight", weight_C, x.columns);
    if (x.count() == 0) return;
    check.must(norm_forward(stream(q), out.data, nullptr, rstd, x.data, weight, nullptr, x.rows, x.columns, eps));
  });
}

void CudaBackend::rmsnorm_backward(Queue q, View d_x_RC, View d_weight_C, ConstView d_out_RC, ConstView x_RC,
                                   ConstView weight_C, ConstView rstd_R) {
  constexpr DeviceCheck check("rmsnorm_backward");
  check.for_type(x_RC.dtype, [&]<class T>(T) {
    const auto x = check.matrix<T>("x", x_RC);
    const auto d_x = check.matrix<T>("d_x", d_x_RC, x.rows, x.columns);
    const auto d_out = check.matrix<T>("d_out", d_out_RC, x.rows, x.columns);
    float* d_weight = check.flat("d_weight", d_weight_C, x.columns);
    const float* weight = check.flat("weight", weight_C, x.columns);
    const float* rstd = check.flat("rstd", rstd_R, x.rows);
    if (x.count() == 0) return;
    const Workspace w = workspace(q, "rmsnorm_backward", column_sums_workspace(1, x.rows, x.columns));
    check.must(norm_backward(stream(q), w, d_x.data, d_weight, nullptr, d_out.data, x.data, weight, nullptr, rstd,
                             x.rows, x.columns));
  });
}

void CudaBackend::bias_backward(Queue q, View d_bias_C, ConstView d_out_RC) {
  constexpr DeviceCheck check("bias_backward");
  check.for_type(d_out_RC.dtype, [&]<class T>(T) {
    const auto d_out = check.strided<T>("d_out", d_out_RC);
    float* d_bias = check.flat("d_bias", d_bias_C, d_out.columns);
    if (d_out.count() == 0) return;
    const Workspace w = workspace(q, "bias_backward", column_sums_workspace(1, d_out.rows, d_out.columns));
    check.must(cuda::bias_backward(stream(q), w, d_bias, d_out.data, d_out.rows, d_out.columns, d_out.stride));
  });
}

void CudaBackend::rotary(Queue q, View x_RHD, ConstView position_R, int head_size, float theta, bool inverse) {
  constexpr DeviceCheck check("rotary");
  check.that(head_size > 0 && head_size % 2 == 0, "head_size", "must be even and positive");
  const int half = head_size / 2;
  check.that(static_cast<std::size_t>(half) * sizeof(Turns) <= turns_.bytes(), "head_size", "is larger than 512");
  if (head_size != turns_head_size_ || theta != turns_theta_) {
    std::vector<Turns> turns;
    for (int i = 0; i < half; ++i) {
      const double t = std::pow(static_cast<double>(theta), -2.0 * i / head_size) / (2 * std::numbers::pi);
      const float high = static_cast<float>(t);
      turns.push_back({high, static_cast<float>(t - static_cast<double>(high))});
    }
    const std::size_t bytes = turns.size() * sizeof(Turns);
    check.must(cudaMemcpyAsync(turns_.get(), staging_.upload(stream(q), turns.data(), bytes), bytes,
                               cudaMemcpyDeviceToDevice, stream(q)));
    turns_head_size_ = head_size;
    turns_theta_ = theta;
  }
  check.for_type(x_RHD.dtype, [&]<class T>(T) {
    const auto x = check.strided<T>("x", x_RHD);
    const int* position = check.flat<int>("position", position_R, x.rows);
    check.that(x.columns % head_size == 0, "x", "does not hold whole heads");
    if (x.count() == 0) return;
    check.must(cuda::rotary(stream(q), x.data, position, static_cast<const Turns*>(turns_.get()), x.rows,
                            static_cast<int>(x.columns / head_size), head_size, x.stride, inverse));
  });
}

void CudaBackend::gelu_forward(Queue q, View out_RF, ConstView x_RF) {
  constexpr DeviceCheck check("gelu_forward");
  check.for_type(x_RF.dtype, [&]<class T>(T) {
    const int64_t count = x_RF.count();
    const T* x = check.flat<T>("x", x_RF, count);
    T* out = check.flat<T>("out", out_RF, count);
    if (count > 0) check.must(cuda::gelu_forward(stream(q), out, x, count));
  });
}

void CudaBackend::gelu_backward(Queue q, View d_x_RF, ConstView d_out_RF, ConstView x_RF) {
  constexpr DeviceCheck check("gelu_backward");
  check.for_type(x_RF.dtype, [&]<class T>(T) {
    const int64_t count = x_RF.count();
    const T *x = check.flat<T>("x", x_RF, count), *d_out = check.flat<T>("d_out", d_out_RF, count);
    T* d_x = check.flat<T>("d_x", d_x_RF, count);
    if (count > 0) check.must(cuda::gelu_backward(stream(q), d_x, d_out, x, count));
  });
}

void CudaBackend::swiglu_forward(Queue q, View out_RF, ConstView gate_RF, ConstView up_RF) {
  constexpr DeviceCheck check("swiglu_forward");
  check.for_type(gate_RF.dtype, [&]<class T>(T) {
    const auto gate = check.strided<T>("gate", gate_RF);
    const auto up = check.strided<T>("up", up_RF, gate.rows, gate.columns);
    const auto out = check.matrix<T>("out", out_RF, gate.rows, gate.columns);
    if (gate.count() == 0) return;
    check.must(
        cuda::swiglu_forward(stream(q), out.data, gate.data, up.data, gate.rows, gate.columns, gate.stride, up.stride));
  });
}

void CudaBackend::swiglu_backward(Queue q, View d_gate_RF, View d_up_RF, ConstView d_out_RF, ConstView gate_RF,
                                  ConstView up_RF) {
  constexpr DeviceCheck check("swiglu_backward");
  check.for_type(gate_RF.dtype, [&]<class T>(T) {
    const auto gate = check.strided<T>("gate", gate_RF);
    const auto up = check.strided<T>("up", up_RF, gate.rows, gate.columns);
    const auto d_gate = check.strided<T>("d_gate", d_gate_RF, gate.rows, gate.columns);
    const auto d_up = check.strided<T>("d_up", d_up_RF, gate.rows, gate.columns);
    const auto d_out = check.matrix<T>("d_out", d_out_RF, gate.rows, gate.columns);
    if (gate.count() == 0) return;
    check.must(cuda::swiglu_backward(stream(q), d_gate.data, d_up.data, d_out.data, gate.data, up.data, gate.rows,
                                     gate.columns, d_gate.stride, d_up.stride, gate.stride, up.stride));
  });
}

void CudaBackend::dropout(Queue q, View out_RC, ConstView x_RC, const Dropout& d) {
  constexpr DeviceCheck check("dropout");
  if (d.p == 0) {
    if (out_RC.data != x_RC.data) copy(q, out_RC, x_RC);
    return;
  }
  check.that(d.p > 0 && d.p < 1, "p", "must be in [0, 1)");
  check.for_type(x_RC.dtype, [&]<class T>(T) {
    const auto x = check.matrix<T>("x", x_RC);
    const auto out = check.matrix<T>("out", out_RC, x.rows, x.columns);
    check.that(static_cast<int64_t>(d.sample.size()) == x.rows && d.sample.size() == d.position.size(),
               "sample or position", "has not one value per row");
    if (x.count() == 0) return;
    const auto* sample = staging_.upload(stream(q), d.sample);
    const auto* position = staging_.upload(stream(q), d.position);
    check.must(cuda::dropout(stream(q), out.data, x.data, d.p, d.key, sample, position, d.channel0, x.rows, x.columns));
  });
}

void CudaBackend::add(Queue q, View out_any, ConstView a_any, ConstView b_any) {
  constexpr DeviceCheck check("add");
  check.for_type(out_any.dtype, [&]<class T>(T) {
    const int64_t count = out_any.count();
    const T *a = check.flat<T>("a", a_any, count), *b = check.flat<T>("b", b_any, count);
    T* out = check.flat<T>("out", out_any, count);
    if (count > 0) check.must(cuda::add(stream(q), out, a, b, count));
  });
}

}  // namespace banyan::kernels::cuda
