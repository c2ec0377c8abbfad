#include "src/model/params.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace banyan::model {
namespace {

/// Collects the list; each method adds one kind of tensor.
class List {
 public:
  explicit List(const ModelShape& shape) : shape_(shape) {}

  void norm(const std::string& name, std::int64_t block) {
    add({name + ".weight", {shape_.width}, {}, Init::kOne, false, block});
    if (shape_.norm == Norm::kLayer) add({name + ".bias", {shape_.width}, {}, Init::kZero, false, block});
  }
  void table(const std::string& name, std::int64_t rows, bool split, std::int64_t block) {
    add({name + ".weight", {rows, shape_.width}, split_over_tensor(split, 0), Init::kNormal, true, block});
  }
  /// Column-parallel: the output channels are split.
  void column(const std::string& name, std::int64_t out, std::int64_t in, std::int64_t block) {
    add({name + ".weight", {out, in}, split_over_tensor(true, 0), Init::kNormal, true, block});
    if (shape_.bias) add({name + ".bias", {out}, split_over_tensor(true, 0), Init::kZero, false, block});
  }
  /// Row-parallel, into the residual stream: the input channels are split, the bias is whole everywhere.
  void row(const std::string& name, std::int64_t out, std::int64_t in, std::int64_t block) {
    add({name + ".weight", {out, in}, split_over_tensor(true, 1), Init::kNormalResidual, true, block});
    if (shape_.bias) add({name + ".bias", {out}, {}, Init::kZero, false, block});
  }
  std::vector<LogicalParam> take() { return std::move(params_); }

 private:
  static std::vector<Split> split_over_tensor(bool split, int axis) {
    return split ? std::vector<Split>{{axis, MeshAxis::kTensor}} : std::vector<Split>{};
  }
  void add(LogicalParam p) { params_.push_back(std::move(p)); }

  const ModelShape& shape_;
  std::vector<LogicalParam> params_;
};

}  // namespace

std::string block_prefix(std::int64_t block) { return fmt::format("blocks.{}.", block); }

std::vector<LogicalParam> logical_params(const ModelShape& s) {
  List list(s);
  const std::int64_t query = s.heads * s.head_size(), key_value = s.kv_heads * s.head_size();
  list.table("embed.token", s.vocab, true, -1);
  if (s.position == Position::kLearned) list.table("embed.position", s.context, false, -1);
  for (std::int64_t i = 0; i < s.layers; ++i) {
    const std::string block = block_prefix(i);
    list.norm(block + "norm1", i);
    list.column(block + "attn.q", query, s.width, i);
    list.column(block + "attn.k", key_value, s.width, i);
    list.column(block + "attn.v", key_value, s.width, i);
    list.row(block + "attn.o", s.width, query, i);
    list.norm(block + "norm2", i);
    if (s.mlp == Mlp::kSwiglu) list.column(block + "mlp.gate", s.ffn, s.width, i);
    list.column(block + "mlp.up", s.ffn, s.width, i);
    list.row(block + "mlp.down", s.width, s.ffn, i);
  }
  list.norm("norm", s.layers);
  if (!s.tied) list.table("head", s.vocab, true, s.layers);
  return list.take();
}

Range split_range(std::int64_t extent, int i, int n) {
  if (n < 1 || i < 0 || i >= n || extent < 0) throw BugError("member {} of {} cannot own a part of {}", i, n, extent);
  const std::int64_t share = (extent + n - 1) / n;
  return {std::min(extent, share * i), std::min(extent, share * (i + 1))};
}

void init_values(const LogicalParam& param, const ModelShape& shape, std::uint64_t seed, Range rows, Range columns,
                 float* out) {
  const std::int64_t width = param.shape.rank() == 2 ? param.shape[1] : 1;
  const Range span = param.shape.rank() == 2 ? columns : Range{0, 1};
  if (rows.begin < 0 || rows.end > param.shape[0] || span.begin < 0 || span.end > width)
    throw BugError("values outside {} {} were asked for", param.name, param.shape.str());
  if (param.init == Init::kZero || param.init == Init::kOne) {
    std::fill(out, out + rows.count() * span.count(), param.init == Init::kOne ? 1.0f : 0.0f);
    return;
  }
  const double std = param.init == Init::kNormalResidual
                         ? shape.init_std / std::sqrt(2.0 * static_cast<double>(shape.layers))
                         : shape.init_std;
  const std::uint64_t key = rng::named_key(seed, param.name);
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    // Numbers come in pairs; the slab may begin or end inside one.
    std::uint64_t index = static_cast<std::uint64_t>(r * width + span.begin);
    const std::uint64_t end = static_cast<std::uint64_t>(r * width + span.end);
    while (index < end) {
      const std::array<double, 2> pair = rng::normal_pair(key, index / 2);
      if (index % 2 == 0 && index < end) *out++ = static_cast<float>(std * pair[0]), ++index;
      if (index % 2 == 1 && index < end) *out++ = static_cast<float>(std * pair[1]), ++index;
    }
  }
}

}  // namespace banyan::model
