#include "tests/kernels/op_cases.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "tests/kernels/reference.hpp"

namespace banyan::kernels::test {
namespace {

using reference::at;
using std::int64_t;

OpCase start(std::string op, std::string shape, double flops, double floats) {
  OpCase c;
  c.op = std::move(op);
  c.shape = std::move(shape);
  c.flops = flops;
  c.bytes = 4 * floats;
  return c;
}
std::string by(int64_t r, int64_t c, bool strided = false) {
  return fmt::format("{}x{}{}", r, c, strided ? " strided" : "");
}
double d(int64_t n) { return static_cast<double>(n); }

/// `count` numbers from [low, high), repeats included.
std::vector<std::int32_t> some_integers(int64_t count, int64_t low, int64_t high) {
  std::vector<std::int32_t> v(at(count));
  for (int64_t i = 0; i < count; ++i)
    v[at(i)] = static_cast<std::int32_t>(low + static_cast<int64_t>(rng::mix(5, static_cast<std::uint64_t>(i)) %
                                                                    static_cast<std::uint64_t>(high - low)));
  return v;
}

}  // namespace

OpCase copy(int64_t R, int64_t C, bool strided) {
  OpCase c = start("copy", by(R, C, strided), 0, d(2 * R * C));
  c.tensors = {in("in", {R, C}), out("out", {R, C}, strided ? C + 3 : 0)};
  c.run = [](Backend& b, Bound& t) { b.copy({}, t["out"], t["in"]); };
  c.reference = [](Values& v) { v["out"] = v["in"]; };
  c.tolerance = 0;
  return c;
}

OpCase fill_zero(int64_t R, int64_t C, bool strided) {
  OpCase c = start("fill_zero", by(R, C, strided), 0, d(R * C));
  c.tensors = {inout("out", {R, C}, 1, strided ? C + 3 : 0)};
  c.run = [](Backend& b, Bound& t) { b.fill_zero({}, t["out"]); };
  c.reference = [](Values& v) { std::fill(v["out"].begin(), v["out"].end(), 0.0); };
  c.tolerance = 0;
  return c;
}

OpCase embedding_forward(int64_t R, int64_t V, int64_t C, int64_t begin) {
  OpCase c = start("embedding_forward", fmt::format("{} of {}", by(R, C), V), 0, d(2 * R * C));
  c.tensors = {integers("tokens", some_integers(R, std::max<int64_t>(0, begin - 2), begin + V + 2)),
               in("table", {V, C}), out("out", {R, C})};
  c.run = [=](Backend& b, Bound& t) { b.embedding_forward({}, t["out"], t["tokens"], t["table"], begin); };
  c.reference = [=](Values& v) {
    for (int64_t i = 0; i < R * C; ++i) {
      const int64_t token = static_cast<int64_t>(v["tokens"][at(i / C)]) - begin;
      v["out"][at(i)] = token >= 0 && token < V ? v["table"][at(token * C + i % C)] : 0;
    }
  };
  c.tolerance = 0;
  return c;
}

OpCase embedding_backward(int64_t R, int64_t V, int64_t C, int64_t begin) {
  OpCase c = start("embedding_backward", fmt::format("{} of {}", by(R, C), V), d(R * C), d(3 * R * C));
  c.tensors = {integers("tokens", some_integers(R, std::max<int64_t>(0, begin - 2), begin + V + 2)),
               in("table", {V, C}), in("d_out", {R, C}), inout("d_table", {V, C})};
  c.run = [=](Backend& b, Bound& t) { b.embedding_backward({}, t["d_table"], t["tokens"], t["d_out"], begin); };
  c.reference = [=](Values& v) {
    for (int64_t i = 0; i < R * C; ++i) {
      const int64_t token = static_cast<int64_t>(v["tokens"][at(i / C)]) - begin;
      if (token >= 0 && token < V) v["d_table"][at(token * C + i % C)] += v["d_out"][at(i)];
    }
  };
  c.gradient = Gradient{[=](const Values& v) {
                          Values w = v;
                          w["out"].resize(at(R * C));
                          embedding_forward(R, V, C, begin).reference(w);
                          return w["out"];
                        },
                        "d_out",
                        {{"table", "d_table"}}};
  return c;
}

OpCase position_forward(int64_t R, int64_t T, int64_t C) {
  OpCase c = start("position_forward", fmt::format("{} of {}", by(R, C), T), d(R * C), d(3 * R * C));
  c.tensors = {integers("position", some_integers(R, 0, T)), in("table", {T, C}), inout("x", {R, C})};
  c.run = [](Backend& b, Bound& t) { b.position_forward({}, t["x"], t["position"], t["table"]); };
  c.reference = [=](Values& v) {
    for (int64_t i = 0; i < R * C; ++i)
      v["x"][at(i)] += v["table"][at(static_cast<int64_t>(v["position"][at(i / C)]) * C + i % C)];
  };
  return c;
}

OpCase layernorm_forward(int64_t R, int64_t C) {
  OpCase c = start("layernorm_forward", by(R, C), d(8 * R * C), d(2 * R * C));
  c.tensors = {in("x", {R, C}, 3), in("weight", {C}, 2), in("bias", {C}),
               out("out", {R, C}), out("mean", {R}),     out("rstd", {R})};
  c.run = [](Backend& b, Bound& t) {
    b.layernorm_forward({}, t["out"], t["mean"], t["rstd"], t["x"], t["weight"], t["bias"], 1e-5f);
  };
  c.reference = [](Values& v) {
    reference::layernorm(v["x"], v["weight"], v["bias"], 1e-5, v["out"], v["mean"], v["rstd"]);
  };
  return c;
}

OpCase layernorm_backward(int64_t R, int64_t C) {
  OpCase c = start("layernorm_backward", by(R, C), d(16 * R * C), d(4 * R * C));
  c.tensors = {in("x", {R, C}, 3),  in("weight", {C}, 2), in("bias", {C}),        in("mean", {R}),     in("rstd", {R}),
               in("d_out", {R, C}), inout("d_x", {R, C}), inout("d_weight", {C}), inout("d_bias", {C})};
  c.prepare = [](Values& v) {
    std::vector<double> unused;
    reference::layernorm(v["x"], v["weight"], v["bias"], 1e-5, unused, v["mean"], v["rstd"]);
  };
  c.run = [](Backend& b, Bound& t) {
    b.layernorm_backward({}, t["d_x"], t["d_weight"], t["d_bias"], t["d_out"], t["x"], t["weight"], t["mean"],
                         t["rstd"]);
  };
  c.reference = [](Values& v) {
    reference::norm_backward(true, v["x"], v["weight"], v["mean"], v["rstd"], v["d_out"], v["d_x"], v["d_weight"],
                             &v["d_bias"]);
  };
  c.gradient =
      Gradient{[](const Values& v) {
                 Values w = v;
                 reference::layernorm(v.at("x"), v.at("weight"), v.at("bias"), 1e-5, w["out"], w["mean"], w["rstd"]);
                 return w["out"];
               },
               "d_out",
               {{"x", "d_x"}, {"weight", "d_weight"}, {"bias", "d_bias"}}};
  return c;
}

OpCase rmsnorm_forward(int64_t R, int64_t C) {
  OpCase c = start("rmsnorm_forward", by(R, C), d(5 * R * C), d(2 * R * C));
  c.tensors = {in("x", {R, C}, 3), in("weight", {C}, 2), out("out", {R, C}), out("rstd", {R})};
  c.run = [](Backend& b, Bound& t) { b.rmsnorm_forward({}, t["out"], t["rstd"], t["x"], t["weight"], 1e-6f); };
  c.reference = [](Values& v) { reference::rmsnorm(v["x"], v["weight"], 1e-6, v["out"], v["rstd"]); };
  return c;
}

OpCase rmsnorm_backward(int64_t R, int64_t C) {
  OpCase c = start("rmsnorm_backward", by(R, C), d(12 * R * C), d(4 * R * C));
  c.tensors = {in("x", {R, C}, 3),  in("weight", {C}, 2), in("rstd", {R}),
               in("d_out", {R, C}), inout("d_x", {R, C}), inout("d_weight", {C})};
  c.prepare = [](Values& v) {
    std::vector<double> unused;
    reference::rmsnorm(v["x"], v["weight"], 1e-6, unused, v["rstd"]);
  };
  c.run = [](Backend& b, Bound& t) {
    b.rmsnorm_backward({}, t["d_x"], t["d_weight"], t["d_out"], t["x"], t["weight"], t["rstd"]);
  };
  c.reference = [](Values& v) {
    reference::norm_backward(false, v["x"], v["weight"], {}, v["rstd"], v["d_out"], v["d_x"], v["d_weight"], nullptr);
  };
  c.gradient = Gradient{[](const Values& v) {
                          Values w = v;
                          reference::rmsnorm(v.at("x"), v.at("weight"), 1e-6, w["out"], w["rstd"]);
                          return w["out"];
                        },
                        "d_out",
                        {{"x", "d_x"}, {"weight", "d_weight"}}};
  return c;
}

OpCase rotary(int64_t R, int64_t heads, int D, bool inverse) {
  OpCase c = start("rotary", fmt::format("{}x{}x{}{}", R, heads, D, inverse ? " inverse" : ""), d(3 * R * heads * D),
                   d(2 * R * heads * D));
  c.tensors = {inout("x", {R, heads * D}, 1, heads * D + 8), integers("position", some_integers(R, 0, 1000))};
  c.run = [=](Backend& b, Bound& t) { b.rotary({}, t["x"], t["position"], D, 10000.0f, inverse); };
  c.reference = [=](Values& v) { reference::rotary(v["x"], v["position"], D, 10000, inverse); };
  return c;
}

OpCase gelu_forward(int64_t R, int64_t C) {
  OpCase c = start("gelu_forward", by(R, C), d(25 * R * C), d(2 * R * C));
  c.tensors = {in("x", {R, C}, 8), out("out", {R, C})};
  c.run = [](Backend& b, Bound& t) { b.gelu_forward({}, t["out"], t["x"]); };
  c.reference = [](Values& v) { std::transform(v["x"].begin(), v["x"].end(), v["out"].begin(), reference::gelu); };
  c.tolerance = 1e-6;
  return c;
}

OpCase gelu_backward(int64_t R, int64_t C) {
  OpCase c = start("gelu_backward", by(R, C), d(30 * R * C), d(3 * R * C));
  c.tensors = {in("x", {R, C}, 8), in("d_out", {R, C}), out("d_x", {R, C})};
  c.run = [](Backend& b, Bound& t) { b.gelu_backward({}, t["d_x"], t["d_out"], t["x"]); };
  c.reference = [](Values& v) {
    for (std::size_t i = 0; i < v["x"].size(); ++i) v["d_x"][i] = v["d_out"][i] * reference::gelu_slope(v["x"][i]);
  };
  c.gradient = Gradient{[](const Values& v) {
                          std::vector<double> y = v.at("x");
                          std::transform(y.begin(), y.end(), y.begin(), reference::gelu);
                          return y;
                        },
                        "d_out",
                        {{"x", "d_x"}}};
  return c;
}

OpCase swiglu_forward(int64_t R, int64_t C, bool strided) {
  OpCase c = start("swiglu_forward", by(R, C, strided), d(20 * R * C), d(3 * R * C));
  const int64_t stride = strided ? 2 * C : 0;
  c.tensors = {in("gate", {R, C}, 6, stride), in("up", {R, C}, 1, stride), out("out", {R, C})};
  c.run = [](Backend& b, Bound& t) { b.swiglu_forward({}, t["out"], t["gate"], t["up"]); };
  c.reference = [](Values& v) {
    for (std::size_t i = 0; i < v["out"].size(); ++i) v["out"][i] = reference::silu(v["gate"][i]) * v["up"][i];
  };
  return c;
}

OpCase swiglu_backward(int64_t R, int64_t C, bool strided) {
  OpCase c = start("swiglu_backward", by(R, C, strided), d(28 * R * C), d(5 * R * C));
  const int64_t stride = strided ? 2 * C : 0;
  c.tensors = {in("gate", {R, C}, 6, stride), in("up", {R, C}, 1, stride), in("d_out", {R, C}),
               out("d_gate", {R, C}, stride), out("d_up", {R, C}, stride)};
  c.run = [](Backend& b, Bound& t) { b.swiglu_backward({}, t["d_gate"], t["d_up"], t["d_out"], t["gate"], t["up"]); };
  c.reference = [](Values& v) {
    for (std::size_t i = 0; i < v["d_out"].size(); ++i) {
      v["d_gate"][i] = v["d_out"][i] * v["up"][i] * reference::silu_slope(v["gate"][i]);
      v["d_up"][i] = v["d_out"][i] * reference::silu(v["gate"][i]);
    }
  };
  c.gradient = Gradient{[](const Values& v) {
                          std::vector<double> y = v.at("up");
                          for (std::size_t i = 0; i < y.size(); ++i) y[i] *= reference::silu(v.at("gate")[i]);
                          return y;
                        },
                        "d_out",
                        {{"gate", "d_gate"}, {"up", "d_up"}}};
  return c;
}

OpCase dropout(int64_t R, int64_t C, float p, int64_t channel0) {
  OpCase c = start("dropout", fmt::format("{} p={} from {}", by(R, C), p, channel0), d(2 * R * C), d(2 * R * C));
  struct Rows {
    std::vector<std::int64_t> sample;
    std::vector<std::int32_t> position;
  };
  auto rows = std::make_shared<Rows>();
  for (int64_t r = 0; r < R; ++r) {
    rows->sample.push_back((r / 3 << 33) + r);
    rows->position.push_back(static_cast<std::int32_t>(r % 3));
  }
  c.tensors = {in("x", {R, C}), out("out", {R, C})};
  c.run = [=](Backend& b, Bound& t) {
    b.dropout({}, t["out"], t["x"], {p, 99, rows->sample, rows->position, channel0});
  };
  c.reference = [=](Values& v) {
    const Dropout spec{p, 99, rows->sample, rows->position, channel0};
    for (int64_t i = 0; i < R * C; ++i) v["out"][at(i)] = v["x"][at(i)] * reference::dropout_factor(spec, i / C, i % C);
  };
  return c;
}

OpCase add(int64_t R, int64_t C) {
  OpCase c = start("add", by(R, C), d(R * C), d(3 * R * C));
  c.tensors = {in("a", {R, C}), in("b", {R, C}), out("out", {R, C})};
  c.run = [](Backend& b, Bound& t) { b.add({}, t["out"], t["a"], t["b"]); };
  c.reference = [](Values& v) {
    for (std::size_t i = 0; i < v["out"].size(); ++i) v["out"][i] = v["a"][i] + v["b"][i];
  };
  return c;
}

}  // namespace banyan::kernels::test
