// Every backward operation is the derivative of its forward operation: the reference's gradients against central
// differences of the reference in double precision.  op_value_test holds the backend to that reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "tests/kernels/op_cases.hpp"

namespace banyan::kernels::test {
namespace {

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

TEST(OpGrad, BackwardIsDerivativeOfForward) {
  std::set<std::string> seen;
  for (const OpCase& c : small_cases()) {
    if (!c.gradient || c.flops > 1e6) continue;
    seen.insert(c.op);
    Values x = c.initial();
    Values after = x;
    c.reference(after);
    const std::vector<double> d_out = x[c.gradient->d_out];
    for (const auto& [input, gradient] : c.gradient->of) {
      const bool in_place = input == gradient;
      const auto spec = std::find_if(c.tensors.begin(), c.tensors.end(),
                                     [&, name = gradient](const TensorSpec& t) { return t.name == name; });
      double largest = 1e-3;
      for (const double g : after[gradient]) largest = std::max(largest, std::abs(g));
      const std::size_t count = x[input].size(), step = std::max<std::size_t>(1, count / 23);
      for (std::size_t i = 0; i < count; i += step) {
        const double at = x[input][i], h = 1e-4 * std::max(1.0, std::abs(at));
        x[input][i] = at + h;
        const double above = dot(c.gradient->forward(x), d_out);
        x[input][i] = at - h;
        const double below = dot(c.gradient->forward(x), d_out);
        x[input][i] = at;
        const double before = spec->role == Role::kInOut && !in_place ? x[gradient][i] : 0;
        EXPECT_NEAR((above - below) / (2 * h), after[gradient][i] - before, 1e-5 * largest)
            << c.name() << ": " << gradient << "[" << i << "]";
      }
    }
  }
  EXPECT_EQ(seen,
            (std::set<std::string>{"attention_backward", "cross_entropy_backward", "embedding_backward",
                                   "gelu_backward", "layernorm_backward", "rmsnorm_backward", "swiglu_backward"}));
}

/// bias_backward and gemm are linear: their gradients are sums and products that op_value_test checks as such.
TEST(OpGrad, RotaryInverseIsItsTranspose) {
  const auto backend = make_cpu_backend({.threads = 1, .max_isa = ""});
  const OpCase forward = rotary(9, 3, 6, false), inverse = rotary(9, 3, 6, true);
  const Values start = forward.initial();
  Bound x(forward.tensors, start);
  forward.run(*backend, x);
  inverse.run(*backend, x);
  const std::vector<double> back = x.read("x");
  for (std::size_t i = 0; i < back.size(); ++i) EXPECT_NEAR(back[i], start.at("x")[i], 1e-6);
}

}  // namespace
}  // namespace banyan::kernels::test
