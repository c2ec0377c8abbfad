#include "src/model/compute.hpp"

#include "src/base/error.hpp"

namespace banyan::model {

namespace {

kernels::Gemm forward_product(View out, ConstView x, ConstView weight, ConstView bias) {
  return {.c = out, .a = x, .b = weight, .transpose_b = true, .bias = bias};
}
kernels::Gemm input_product(View d_x, ConstView d_out, ConstView weight) {
  return {.c = d_x, .a = d_out, .b = weight, .bias = {}};
}

}  // namespace

void Compute::linear_forward(View out, ConstView x, ConstView weight, ConstView bias) const {
  backend.gemm(queue, forward_product(out, x, weight, bias));
  advance();
}

void Compute::linear_gelu_forward(View out, View active, ConstView x, ConstView weight, ConstView bias) const {
  backend.gemm_gelu(queue, forward_product(out, x, weight, bias), active);
  advance();
}

void Compute::linear_backward_input(View d_x, ConstView d_out, ConstView weight) const {
  backend.gemm(queue, input_product(d_x, d_out, weight));
  advance();
}

void Compute::linear_gelu_backward_input(View d_wide, ConstView d_out, ConstView weight, ConstView wide) const {
  backend.gemm_gelu_backward(queue, input_product(d_wide, d_out, weight), wide);
  advance();
}

void Compute::linear_backward_weight(View d_weight, View d_bias, ConstView d_out, ConstView own, ConstView x) const {
  const kernels::Gemm g{.c = d_weight, .a = d_out, .b = x, .transpose_a = true, .accumulate = true, .bias = {}};
  const bool together = d_bias && own.data == d_out.data && own.shape == d_out.shape;
  if (d_bias && !together) backend.bias_backward(queue, d_bias, own);
  if (together)
    backend.gemm_bias_backward(queue, g, d_bias);
  else
    backend.gemm(queue, g);
  advance();
}

void Compute::advance() const {
  tensor.progress();
  if (progress) progress();
}

View matrix_in(View buffer, std::int64_t rows, std::int64_t columns) {
  if (rows * columns > buffer.count())
    throw BugError("a matrix of {} x {} does not fit in a buffer of {}", rows, columns, buffer.count());
  return View(buffer.data, buffer.dtype, {rows, columns}, buffer.kind);
}

}  // namespace banyan::model
