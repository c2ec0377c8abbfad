#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "tests/kernels/op_cases.hpp"
#include "tests/kernels/reference.hpp"

namespace banyan::kernels::test {
namespace {

/// The description of a case and the arrays its spans look into.
struct Setup {
  Attention a;
  std::int64_t rows = 0, key_rows = 0;
  double pairs = 0;  ///< (query, key) pairs of one head that are seen
  std::vector<std::int32_t> q_offsets, kv_offsets, q_position, table, position;
  std::vector<std::int64_t> sample;
};

std::shared_ptr<Setup> set_up(const AttentionShape& shape) {
  auto s = std::make_shared<Setup>();
  const std::size_t sequences = shape.queries.size();
  s->q_offsets = s->kv_offsets = {0};
  s->q_position = shape.positions;
  for (std::size_t i = 0; i < sequences; ++i) {
    s->q_offsets.push_back(s->q_offsets.back() + shape.queries[i]);
    s->kv_offsets.push_back(s->kv_offsets.back() + shape.keys[i]);
    for (std::int32_t r = 0; r < shape.queries[i]; ++r) {
      s->sample.push_back(static_cast<std::int64_t>(100 + i));
      s->position.push_back(shape.positions[i] + r);
      s->pairs += std::min(shape.keys[i], shape.positions[i] + r + 1);
    }
  }
  s->rows = s->q_offsets.back();
  s->key_rows = s->kv_offsets.back();
  Attention& a = s->a;
  if (shape.block_size > 0) {
    const std::int32_t most = *std::max_element(shape.keys.begin(), shape.keys.end());
    a.blocks.block_size = shape.block_size;
    a.blocks.blocks_per_sequence = (most + shape.block_size - 1) / shape.block_size + 1;
    s->table.resize(sequences * static_cast<std::size_t>(a.blocks.blocks_per_sequence));
    const auto blocks = static_cast<std::int32_t>(s->table.size());
    for (std::int32_t i = 0; i < blocks; ++i) s->table[static_cast<std::size_t>(i)] = blocks - 1 - i;
    s->key_rows = std::int64_t{blocks} * shape.block_size;
    a.blocks.table = s->table;
  }
  a.heads = shape.heads;
  a.kv_heads = shape.kv_heads;
  a.head_size = shape.head_size;
  a.scale = 1.0f / std::sqrt(static_cast<float>(shape.head_size));
  a.q_offsets = s->q_offsets;
  a.kv_offsets = s->kv_offsets;
  a.q_position = s->q_position;
  a.dropout = {shape.dropout, 77, s->sample, s->position, shape.head0 << 20};
  return s;
}

std::vector<TensorSpec> operands(const AttentionShape& shape, const Setup& s) {
  const std::int64_t H = std::int64_t{shape.heads} * shape.head_size,
                     G = std::int64_t{shape.kv_heads} * shape.head_size;
  const std::int64_t stride = shape.strided ? H + 2 * G : 0;
  return {in("q", {s.rows, H}, 2, stride), in("k", {s.key_rows, G}, 2, stride), in("v", {s.key_rows, G}, 1, stride)};
}

reference::AttentionReference reference_of(const Setup& s) { return {s.a, s.rows, s.key_rows}; }

}  // namespace

std::string AttentionShape::str() const {
  const auto list = [](const std::vector<std::int32_t>& v) {
    if (v.size() > 4) return fmt::format("{}x{}", v.size(), v[0]);
    return fmt::format("{}", fmt::join(v, "+"));
  };
  return fmt::format("H{} G{} D{} q{} k{}{}{}{}", heads, kv_heads, head_size, list(queries), list(keys),
                     strided ? " strided" : "", block_size ? fmt::format(" blocks{}", block_size) : "",
                     dropout > 0 ? " dropout" : "");
}

AttentionShape whole_sequences(int heads, int kv_heads, int head_size, int count, std::int32_t length) {
  const std::vector<std::int32_t> lengths(static_cast<std::size_t>(count), length);
  return {heads, kv_heads, head_size, lengths, lengths, std::vector<std::int32_t>(lengths.size(), 0)};
}

OpCase attention_forward(const AttentionShape& shape) {
  const auto s = set_up(shape);
  OpCase c;
  c.op = "attention_forward";
  c.shape = shape.str();
  c.flops = 4 * s->pairs * shape.heads * shape.head_size;
  c.bytes = 4.0 * static_cast<double>(shape.head_size) *
            static_cast<double>(2 * s->rows * shape.heads + 2 * s->key_rows * shape.kv_heads);
  c.tensors = operands(shape, *s);
  c.tensors.push_back(out("out", {s->rows, std::int64_t{shape.heads} * shape.head_size}));
  c.tensors.push_back(out("lse", {shape.heads, s->rows}));
  c.run = [s](Backend& b, Bound& t) { b.attention_forward({}, t["out"], t["lse"], t["q"], t["k"], t["v"], s->a); };
  c.reference = [s](Values& v) { reference_of (*s)(v["q"], v["k"], v["v"], v["out"], v["lse"]); };
  return c;
}

OpCase attention_backward(const AttentionShape& shape) {
  const auto s = set_up(shape);
  const std::int64_t H = std::int64_t{shape.heads} * shape.head_size,
                     G = std::int64_t{shape.kv_heads} * shape.head_size;
  const std::int64_t stride = shape.strided ? H + 2 * G + 3 : 0;
  OpCase c;
  c.op = "attention_backward";
  c.shape = shape.str();
  c.flops = 10 * s->pairs * shape.heads * shape.head_size;
  c.bytes = 4.0 * static_cast<double>(shape.head_size) *
            static_cast<double>(4 * s->rows * shape.heads + 4 * s->key_rows * shape.kv_heads);
  c.tensors = operands(shape, *s);
  c.tensors.push_back(in("out", {s->rows, H}));
  c.tensors.push_back(in("lse", {shape.heads, s->rows}));
  c.tensors.push_back(in("d_out", {s->rows, H}));
  c.tensors.push_back(out("d_q", {s->rows, H}, stride));
  c.tensors.push_back(out("d_k", {s->key_rows, G}, stride));
  c.tensors.push_back(out("d_v", {s->key_rows, G}, stride));
  c.prepare = [s](Values& v) { reference_of (*s)(v["q"], v["k"], v["v"], v["out"], v["lse"]); };
  c.run = [s](Backend& b, Bound& t) {
    b.attention_backward({}, t["d_q"], t["d_k"], t["d_v"], t["d_out"], t["q"], t["k"], t["v"], t["out"], t["lse"],
                         s->a);
  };
  c.reference = [s](Values& v) {
    for (const char* name : {"d_q", "d_k", "d_v"}) std::fill(v[name].begin(), v[name].end(), 0.0);
    Values scratch = v;
    reference_of (*s)(v["q"], v["k"], v["v"], scratch["out"], scratch["lse"], &v["d_out"], &v["d_q"], &v["d_k"],
                      &v["d_v"]);
  };
  c.tolerance = 1e-5;
  c.gradient = Gradient{[s](const Values& v) {
                          Values scratch = v;
                          reference_of (*s)(v.at("q"), v.at("k"), v.at("v"), scratch["out"], scratch["lse"]);
                          return scratch["out"];
                        },
                        "d_out",
                        {{"q", "d_q"}, {"k", "d_k"}, {"v", "d_v"}}};
  return c;
}

}  // namespace banyan::kernels::test
