#include "src/model/compute.hpp"

#include "src/base/error.hpp"

namespace banyan::model {

void Compute::linear_forward(View out, ConstView x, ConstView weight, ConstView bias) const {
  kernels::Gemm g;
  g.c = out;
  g.a = x;
  g.b = weight;
  g.transpose_b = true;
  g.bias = bias;
  backend.gemm(queue, g);
  advance();
}

void Compute::linear_backward_input(View d_x, ConstView d_out, ConstView weight) const {
  kernels::Gemm g;
  g.c = d_x;
  g.a = d_out;
  g.b = weight;
  backend.gemm(queue, g);
  advance();
}

void Compute::linear_backward_weight(View d_weight, ConstView d_out, ConstView x) const {
  kernels::Gemm g;
  g.c = d_weight;
  g.a = d_out;
  g.transpose_a = true;
  g.b = x;
  g.accumulate = true;
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
