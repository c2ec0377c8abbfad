#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "tests/kernels/op_cases.hpp"
#include "tests/kernels/reference.hpp"

namespace banyan::kernels::test {
namespace {

using reference::at;
using std::int64_t;

OpCase start(std::string op, std::string shape, double flops, double bytes) {
  OpCase c;
  c.op = std::move(op);
  c.shape = std::move(shape);
  c.flops = flops;
  c.bytes = bytes;
  return c;
}
double d(int64_t n) { return static_cast<double>(n); }

/// Targets of R rows: most of them in [begin - 2, begin + valid + 2), every fifth row ignored.
std::vector<std::int32_t> targets_of(int64_t R, int64_t begin, int64_t valid) {
  std::vector<std::int32_t> t(at(R));
  for (int64_t r = 0; r < R; ++r) {
    const int64_t offset =
        static_cast<int64_t>(rng::mix(3, static_cast<std::uint64_t>(r)) % static_cast<std::uint64_t>(valid + 4));
    t[at(r)] = r % 5 == 4 ? -1 : static_cast<std::int32_t>(std::max<int64_t>(0, begin - 2 + offset));
  }
  return t;
}

std::string logits_shape(int64_t R, int64_t V, int64_t valid, int64_t begin) {
  return fmt::format("{}x{}{}{}", R, V, valid < V ? fmt::format(" valid {}", valid) : "",
                     begin ? fmt::format(" from {}", begin) : "");
}

/// Log-sum-exp of each row's first `valid` columns.
std::vector<double> lse_of(const std::vector<double>& logits, int64_t R, int64_t V, int64_t valid) {
  std::vector<double> lse(at(R));
  for (int64_t r = 0; r < R; ++r) {
    const double* row = &logits[at(r * V)];
    const double max = *std::max_element(row, row + valid);
    double sum = 0;
    for (int64_t c = 0; c < valid; ++c) sum += std::exp(row[c] - max);
    lse[at(r)] = max + std::log(sum);
  }
  return lse;
}

double waited(Backend& b, const Number& n) {
  b.synchronize({});
  return *n;
}

/// A case whose result is one number, kept in a tensor "result".
OpCase to_number(std::string op, int64_t count, std::function<double(Backend&, ConstView)> call,
                 std::function<double(const std::vector<double>&)> expected) {
  OpCase c = start(std::move(op), fmt::format("{}", count), 2 * d(count), 4 * d(count));
  c.tensors = {in("x", {count}, 3), {"result", {1}, Role::kOut, DType::kF64, 0, {}}};
  c.run = [=](Backend& b, Bound& t) { t.write("result", {call(b, t["x"])}); };
  c.reference = [=](Values& v) { v["result"] = {expected(v["x"])}; };
  c.tolerance = 1e-12;
  return c;
}

}  // namespace

OpCase cross_entropy_stats(int64_t R, int64_t V, int64_t valid, int64_t begin) {
  OpCase c = start("cross_entropy_stats", logits_shape(R, V, valid, begin), 15 * d(R * valid), 4 * d(R * valid));
  c.tensors = {in("logits", {R, V}, 9), integers("targets", targets_of(R, begin, valid)), out("max", {R}),
               out("sum", {R}), out("target", {R})};
  c.run = [=](Backend& b, Bound& t) {
    b.cross_entropy_stats({}, t["max"], t["sum"], t["target"], t["logits"], t["targets"], begin, valid);
  };
  c.reference = [=](Values& v) {
    for (int64_t r = 0; r < R; ++r) {
      const double* row = &v["logits"][at(r * V)];
      const double max = *std::max_element(row, row + valid);
      v["max"][at(r)] = max;
      v["sum"][at(r)] = 0;
      for (int64_t j = 0; j < valid; ++j) v["sum"][at(r)] += std::exp(row[j] - max);
      const int64_t token = static_cast<int64_t>(v["targets"][at(r)]), t = token - begin;
      v["target"][at(r)] = token >= 0 && t >= 0 && t < valid ? row[t] : 0;
    }
  };
  return c;
}

OpCase cross_entropy_rescale(int64_t R) {
  OpCase c = start("cross_entropy_rescale", fmt::format("{}", R), 15 * d(R), 16 * d(R));
  c.tensors = {inout("sum", {R}, 5), in("local", {R}, 2), in("global", {R}, 2)};
  c.run = [](Backend& b, Bound& t) { b.cross_entropy_rescale({}, t["sum"], t["local"], t["global"]); };
  c.reference = [](Values& v) {
    for (std::size_t i = 0; i < v["sum"].size(); ++i) v["sum"][i] *= std::exp(v["local"][i] - v["global"][i]);
  };
  return c;
}

OpCase cross_entropy_loss(int64_t R) {
  OpCase c = start("cross_entropy_loss", fmt::format("{}", R), 15 * d(R), 24 * d(R));
  c.tensors = {in("max", {R}, 4), in("sum", {R}), in("target", {R}, 4), integers("targets", targets_of(R, 0, 50)),
               out("loss", {R}),  out("lse", {R})};
  c.prepare = [](Values& v) {
    for (double& x : v["sum"]) x = 2 + x;
  };
  c.run = [](Backend& b, Bound& t) {
    b.cross_entropy_loss({}, t["loss"], t["lse"], t["max"], t["sum"], t["target"], t["targets"]);
  };
  c.reference = [](Values& v) {
    for (std::size_t i = 0; i < v["sum"].size(); ++i) {
      v["lse"][i] = v["max"][i] + std::log(v["sum"][i]);
      v["loss"][i] = v["targets"][i] < 0 ? 0 : v["lse"][i] - v["target"][i];
    }
  };
  return c;
}

OpCase cross_entropy_backward(int64_t R, int64_t V, int64_t valid, int64_t begin) {
  const double scale = 0.125;
  OpCase c = start("cross_entropy_backward", logits_shape(R, V, valid, begin), 15 * d(R * valid), 8 * d(R * V));
  c.tensors = {inout("logits", {R, V}, 9), integers("targets", targets_of(R, begin, valid)), in("lse", {R})};
  c.prepare = [=](Values& v) { v["lse"] = lse_of(v["logits"], R, V, valid); };
  c.run = [=](Backend& b, Bound& t) {
    b.cross_entropy_backward({}, t["logits"], t["lse"], t["targets"], begin, valid, static_cast<float>(scale));
  };
  c.reference = [=](Values& v) {
    for (int64_t i = 0; i < R * V; ++i) {
      const int64_t r = i / V, j = i % V, target = static_cast<int64_t>(v["targets"][at(r)]);
      double& x = v["logits"][at(i)];
      x = target < 0 || j >= valid ? 0 : (std::exp(x - v["lse"][at(r)]) - (j + begin == target ? 1 : 0)) * scale;
    }
  };
  if (begin == 0) {
    c.tensors.push_back(in("one", {R}));  // gradient of each row's loss, as the derivative test wants to have it
    const auto before = c.prepare;
    c.prepare = [=](Values& v) {
      before(v);
      std::fill(v["one"].begin(), v["one"].end(), scale);
    };
    c.gradient = Gradient{[=](const Values& v) {
                            std::vector<double> loss = lse_of(v.at("logits"), R, V, valid);
                            for (int64_t r = 0; r < R; ++r) {
                              const int64_t t = static_cast<int64_t>(v.at("targets")[at(r)]);
                              loss[at(r)] = t < 0 ? 0 : loss[at(r)] - (t < valid ? v.at("logits")[at(r * V + t)] : 0);
                            }
                            return loss;
                          },
                          "one",
                          {{"logits", "logits"}}};
  }
  return c;
}

OpCase adamw(int64_t count, int64_t step) {
  OpCase c = start("adamw", fmt::format("{} step {}", count, step), 14 * d(count), 28 * d(count));
  c.tensors = {inout("param", {count}), in("grad", {count}), inout("m", {count}, 0.1), inout("v", {count}, 0.01)};
  c.prepare = [](Values& v) {
    for (double& x : v["v"]) x = std::abs(x);
  };
  const AdamW h{1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, step, 0.5f};
  c.run = [=](Backend& b, Bound& t) { b.adamw({}, t["param"], t["grad"], t["m"], t["v"], h); };
  c.reference = [=](Values& v) {
    const double b1 = static_cast<double>(h.beta1), b2 = static_cast<double>(h.beta2), lr = static_cast<double>(h.lr);
    for (int64_t i = 0; i < count; ++i) {
      double &p = v["param"][at(i)], &m = v["m"][at(i)], &s = v["v"][at(i)];
      const double g = v["grad"][at(i)] * static_cast<double>(h.grad_scale);
      m = b1 * m + (1 - b1) * g;
      s = b2 * s + (1 - b2) * g * g;
      const double m1 = m / (1 - std::pow(b1, d(step))), s1 = s / (1 - std::pow(b2, d(step)));
      p -= lr * (m1 / (std::sqrt(s1) + static_cast<double>(h.eps)) + static_cast<double>(h.weight_decay) * p);
    }
  };
  c.tolerance = 5e-7;
  return c;
}

OpCase sum_squares(int64_t count) {
  return to_number(
      "sum_squares", count, [](Backend& b, ConstView x) { return waited(b, b.sum_squares({}, x)); },
      [](const std::vector<double>& x) { return std::inner_product(x.begin(), x.end(), x.begin(), 0.0); });
}

OpCase sum(int64_t count) {
  return to_number(
      "sum", count, [](Backend& b, ConstView x) { return waited(b, b.sum({}, x)); },
      [](const std::vector<double>& x) { return std::accumulate(x.begin(), x.end(), 0.0); });
}

OpCase all_finite(int64_t count, int64_t bad) {
  OpCase c = to_number(
      "all_finite", count, [](Backend& b, ConstView x) { return b.all_finite({}, x) ? 1.0 : 0.0; },
      [bad](const std::vector<double>&) { return bad < 0 ? 1.0 : 0.0; });
  if (bad >= 0) {
    c.shape += fmt::format(" bad {}", bad);
    c.prepare = [bad](Values& v) {
      v["x"][at(bad)] = bad % 2 ? std::numeric_limits<double>::quiet_NaN() : -std::numeric_limits<double>::infinity();
    };
  }
  return c;
}

OpCase scale(int64_t count) {
  OpCase c = start("scale", fmt::format("{}", count), d(count), 8 * d(count));
  c.tensors = {inout("x", {count})};
  c.run = [](Backend& b, Bound& t) { b.scale({}, t["x"], -1.0f); };
  c.reference = [](Values& v) {
    for (double& x : v["x"]) x = -x;
  };
  return c;
}

namespace {

/// out = a op b, where `out` and `a` name one tensor or two.
OpCase element_by_element(const char* name, const char* out, const char* a, int64_t count, DType dtype, ReduceOp op) {
  const char* names[] = {"sum", "max", "min"};
  OpCase c = start(name, fmt::format("{} {} {}", count, name_of(dtype), names[static_cast<int>(op)]), d(count),
                   3 * d(count) * d(static_cast<int64_t>(size_of(dtype))));
  const bool whole = dtype == DType::kI32 || dtype == DType::kI64;
  const auto values = [whole](std::uint64_t seed) -> std::function<double(int64_t)> {
    const auto f = noise(seed, 1000);
    return [=](int64_t i) { return whole ? std::floor(f(i)) : f(i); };
  };
  const bool in_place = std::string_view(out) == a;
  c.tensors = {{a, {count}, in_place ? Role::kInOut : Role::kIn, dtype, 0, values(1)},
               {"b", {count}, Role::kIn, dtype, 0, values(2)}};
  if (!in_place) c.tensors.push_back({out, {count}, Role::kOut, dtype, 0, {}});
  c.reference = [=](Values& v) {
    for (std::size_t i = 0; i < v["b"].size(); ++i) {
      const double x = v[a][i], y = v["b"][i];
      v[out][i] = op == ReduceOp::kSum ? x + y : op == ReduceOp::kMax ? std::max(x, y) : std::min(x, y);
    }
  };
  c.tolerance = dtype == DType::kF32 ? 1e-7 : dtype == DType::kBF16 ? 0x1p-8 : 0;
  return c;
}

}  // namespace

OpCase reduce(int64_t count, DType dtype, ReduceOp op) {
  OpCase c = element_by_element("reduce", "a", "a", count, dtype, op);
  c.run = [=](Backend& b, Bound& t) { b.reduce({}, t["a"], t["a"], t["b"], op); };
  return c;
}

OpCase reduce_apart(int64_t count, DType dtype, ReduceOp op) {
  OpCase c = element_by_element("reduce", "out", "a", count, dtype, op);
  c.shape += " apart";
  c.run = [=](Backend& b, Bound& t) { b.reduce({}, t["out"], t["a"], t["b"], op); };
  return c;
}

}  // namespace banyan::kernels::test
