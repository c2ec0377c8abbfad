// GELU (tanh form), SwiGLU, addition.
//
// 0.5 x (1 + tanh u) = x / (1 + e^(-2u)): the same function as a sigmoid, which keeps its relative precision where tanh
// is close to -1.
#include "kernels/cpu/check.hpp"
#include "kernels/cpu/cpu_backend.hpp"
#include "kernels/cpu/parallel.hpp"
#include "kernels/cpu/simd_math.hpp"

namespace banyan::kernels::cpu {
namespace {

constexpr float kA = 1.59576912f;    // 2 sqrt(2/pi)
constexpr float kB = 0.0713548163f;  // 0.044715 * kA
constexpr float k3B = 0.214064449f;  // derivative of kB x^3

}  // namespace

void CpuBackend::gelu_forward(Queue, View out_RF, ConstView x_RF) {
  constexpr Check check("gelu_forward");
  check.by_element("x", x_RF, [&]<class T>(T) {
    const std::int64_t count = x_RF.count();
    const T* x = check.flat<T>("x", x_RF, count);
    T* out = check.flat<T>("out", out_RF, count);
    parallel_pieces(threads_, count, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) out[i] = x[i] * sigmoid_simd(x[i] * (kA + kB * x[i] * x[i]));
    });
  });
}

void CpuBackend::gelu_backward(Queue, View d_x_RF, ConstView d_out_RF, ConstView x_RF) {
  constexpr Check check("gelu_backward");
  check.by_element("x", x_RF, [&]<class T>(T) {
    const std::int64_t count = x_RF.count();
    const T *x = check.flat<T>("x", x_RF, count), *d_out = check.flat<T>("d_out", d_out_RF, count);
    T* d_x = check.flat<T>("d_x", d_x_RF, count);
    parallel_pieces(threads_, count, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) {
        const float u = x[i], s = sigmoid_simd(u * (kA + kB * u * u));
        d_x[i] = d_out[i] * (s + u * s * (1.0f - s) * (kA + k3B * u * u));
      }
    });
  });
}

void CpuBackend::swiglu_forward(Queue, View out_RF, ConstView gate_RF, ConstView up_RF) {
  constexpr Check check("swiglu_forward");
  check.by_element("gate", gate_RF, [&]<class T>(T) {
    const auto gate = check.strided<T>("gate", gate_RF);
    const auto up = check.strided<T>("up", up_RF, gate.rows, gate.columns);
    const auto out = check.matrix<T>("out", out_RF, gate.rows, gate.columns);
    parallel_for(threads_, out.rows, 4 * out.count(), [&](std::int64_t r) {
      const T *g = gate.row(r), *u = up.row(r);
      T* to = out.row(r);
#pragma omp simd
      for (std::int64_t c = 0; c < out.columns; ++c) to[c] = g[c] * sigmoid_simd(g[c]) * u[c];
    });
  });
}

void CpuBackend::swiglu_backward(Queue, View d_gate_RF, View d_up_RF, ConstView d_out_RF, ConstView gate_RF,
                                 ConstView up_RF) {
  constexpr Check check("swiglu_backward");
  check.by_element("gate", gate_RF, [&]<class T>(T) {
    const auto gate = check.strided<T>("gate", gate_RF);
    const auto up = check.strided<T>("up", up_RF, gate.rows, gate.columns);
    const auto d_gate = check.strided<T>("d_gate", d_gate_RF, gate.rows, gate.columns);
    const auto d_up = check.strided<T>("d_up", d_up_RF, gate.rows, gate.columns);
    const auto d_out = check.matrix<T>("d_out", d_out_RF, gate.rows, gate.columns);
    parallel_for(threads_, gate.rows, 4 * gate.count(), [&](std::int64_t r) {
      const T *g = gate.row(r), *u = up.row(r), *o = d_out.row(r);
      T *to_gate = d_gate.row(r), *to_up = d_up.row(r);
#pragma omp simd
      for (std::int64_t c = 0; c < gate.columns; ++c) {
        const float s = sigmoid_simd(g[c]);
        to_gate[c] = o[c] * u[c] * s * (1.0f + g[c] * (1.0f - s));
        to_up[c] = o[c] * g[c] * s;
      }
    });
  });
}

void CpuBackend::add(Queue, View out_any, ConstView a_any, ConstView b_any) {
  constexpr Check check("add");
  check.by_element("out", out_any, [&]<class T>(T) {
    const std::int64_t count = out_any.count();
    const T *a = check.flat<T>("a", a_any, count), *b = check.flat<T>("b", b_any, count);
    T* out = check.flat<T>("out", out_any, count);
    parallel_pieces(threads_, count, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) out[i] = a[i] + b[i];
    });
  });
}

}  // namespace banyan::kernels::cpu
