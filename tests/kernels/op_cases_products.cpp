// Matrix products, and what is done together with one.
#include <fmt/format.h>

#include "tests/kernels/op_cases.hpp"
#include "tests/kernels/reference.hpp"

namespace banyan::kernels::test {
namespace {

using reference::at;
using std::int64_t;

double d(int64_t n) { return static_cast<double>(n); }

OpCase product(std::string op, std::string shape, int64_t m, int64_t n, int64_t k) {
  OpCase c;
  c.op = std::move(op);
  c.shape = std::move(shape);
  c.flops = 2 * d(m) * d(n) * d(k);
  c.bytes = 4 * (d(m) * d(n) + d(m) * d(k) + d(k) * d(n));
  return c;
}
std::string by(int64_t m, int64_t n, int64_t k, bool strided) {
  return fmt::format("{}x{}x{}{}", m, n, k, strided ? " strided" : "");
}
/// Rows so far apart that they are still a multiple of 8 elements where they were before.
int64_t wider(int64_t columns, bool strided) { return strided ? columns + 8 : 0; }

}  // namespace

OpCase gemm(char ta, char tb, int64_t m, int64_t n, int64_t k, const GemmOptions& o) {
  OpCase c = product("gemm",
                     fmt::format("{}{} {}x{}x{}{}{}{}{}", ta, tb, m, n, k, o.accumulate ? " +=" : "",
                                 o.bias ? " bias" : "", o.strided ? " strided" : "", o.alpha == 1 ? "" : " alpha"),
                     m, n, k);
  const bool a_turned = ta == 'T', b_turned = tb == 'T';
  const Shape a = a_turned ? Shape{k, m} : Shape{m, k}, b = b_turned ? Shape{n, k} : Shape{k, n};
  const auto stride = [&](int64_t columns) { return o.strided ? columns + 5 : 0; };
  c.tensors = {in("a", a, 1, stride(a[1])), in("b", b, 1, stride(b[1])), inout("c", {m, n}, 1, stride(n))};
  if (o.bias) c.tensors.push_back(in("bias", {n}));
  c.run = [=](Backend& backend, Bound& t) {
    Gemm g;
    g.c = t["c"];
    g.a = t["a"];
    g.b = t["b"];
    g.transpose_a = a_turned;
    g.transpose_b = b_turned;
    g.accumulate = o.accumulate;
    g.alpha = o.alpha;
    if (o.bias) g.bias = t["bias"];
    backend.gemm({}, g);
  };
  c.reference = [=](Values& v) {
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t l = 0; l < k; ++l)
          sum += v["a"][at(a_turned ? l * m + i : i * k + l)] * v["b"][at(b_turned ? j * k + l : l * n + j)];
        double& x = v["c"][at(i * n + j)];
        x = (o.accumulate ? x : 0) + static_cast<double>(o.alpha) * sum + (o.bias ? v["bias"][at(j)] : 0);
      }
  };
  return c;
}

OpCase bias_backward(int64_t R, int64_t C, bool strided) {
  OpCase c;
  c.op = "bias_backward";
  c.shape = fmt::format("{}x{}{}", R, C, strided ? " strided" : "");
  c.flops = d(R * C);
  c.bytes = 4 * d(R * C);
  c.tensors = {in("d_out", {R, C}, 1, strided ? C + 7 : 0), inout("d_bias", {C})};
  c.run = [](Backend& b, Bound& t) { b.bias_backward({}, t["d_bias"], t["d_out"]); };
  c.reference = [=](Values& v) {
    for (int64_t i = 0; i < R * C; ++i) v["d_bias"][at(i % C)] += v["d_out"][at(i)];
  };
  return c;
}

OpCase gemm_gelu(int64_t m, int64_t n, int64_t k, bool bias, bool strided) {
  OpCase c = product("gemm_gelu", by(m, n, k, strided) + (bias ? " bias" : ""), m, n, k);
  c.tensors = {in("a", {m, k}), in("b", {n, k}), out("c", {m, n}), out("active", {m, n})};
  if (strided) c.tensors[0].stride = k + 5;
  if (bias) c.tensors.push_back(in("bias", {n}));
  c.run = [=](Backend& backend, Bound& t) {
    backend.gemm_gelu(
        {},
        {.c = t["c"], .a = t["a"], .b = t["b"], .transpose_b = true, .bias = bias ? ConstView(t["bias"]) : ConstView()},
        t["active"]);
  };
  c.reference = [=](Values& v) {
    gemm('N', 'T', m, n, k, {.bias = bias}).reference(v);
    for (std::size_t i = 0; i < v["c"].size(); ++i) v["active"][i] = reference::gelu(v["c"][i]);
  };
  return c;
}

OpCase gemm_gelu_backward(int64_t m, int64_t n, int64_t k, bool strided) {
  OpCase c = product("gemm_gelu_backward", by(m, n, k, strided), m, n, k);
  c.tensors = {in("a", {m, k}, 1, wider(k, strided)), in("b", {k, n}), in("x", {m, n}, 3), out("c", {m, n})};
  c.run = [](Backend& backend, Bound& t) {
    backend.gemm_gelu_backward({}, {.c = t["c"], .a = t["a"], .b = t["b"], .bias = {}}, t["x"]);
  };
  c.reference = [=](Values& v) {
    gemm('N', 'N', m, n, k).reference(v);
    for (std::size_t i = 0; i < v["c"].size(); ++i) v["c"][i] *= reference::gelu_slope(v["x"][i]);
  };
  return c;
}

OpCase gemm_bias_backward(int64_t rows, int64_t outputs, int64_t inputs, bool strided) {
  OpCase c = product("gemm_bias_backward", by(outputs, inputs, rows, strided), outputs, inputs, rows);
  c.tensors = {in("d_out", {rows, outputs}, 1, wider(outputs, strided)), in("x", {rows, inputs}),
               inout("d_weight", {outputs, inputs}), inout("d_bias", {outputs})};
  c.run = [](Backend& backend, Bound& t) {
    backend.gemm_bias_backward(
        {}, {.c = t["d_weight"], .a = t["d_out"], .b = t["x"], .transpose_a = true, .accumulate = true, .bias = {}},
        t["d_bias"]);
  };
  c.reference = [=](Values& v) {
    bias_backward(rows, outputs).reference(v);
    for (int64_t i = 0; i < outputs; ++i)
      for (int64_t j = 0; j < inputs; ++j)
        for (int64_t r = 0; r < rows; ++r)
          v["d_weight"][at(i * inputs + j)] += v["d_out"][at(r * outputs + i)] * v["x"][at(r * inputs + j)];
  };
  return c;
}

}  // namespace banyan::kernels::test
