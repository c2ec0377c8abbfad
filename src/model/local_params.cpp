#include "src/model/local_params.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>

#include "src/base/error.hpp"

namespace banyan::model {
namespace {

constexpr std::int64_t kAlignment = 16;  // elements: 64 bytes of fp32

std::int64_t aligned(std::int64_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

/// Position of a parameter inside its block's range, by the last words of its name.  Members of a fused group are
/// neighbours; `starts_group` is false for the second and third of them.
struct Place {
  std::string_view suffix;
  bool starts_group;
};
constexpr Place kBlockOrder[] = {
    {"norm1.weight", true},    {"norm1.bias", true},     {"attn.q.weight", true}, {"attn.k.weight", false},
    {"attn.v.weight", false},  {"attn.q.bias", true},    {"attn.k.bias", false},  {"attn.v.bias", false},
    {"attn.o.weight", true},   {"attn.o.bias", true},    {"norm2.weight", true},  {"norm2.bias", true},
    {"mlp.gate.weight", true}, {"mlp.up.weight", false}, {"mlp.gate.bias", true}, {"mlp.up.bias", false},
    {"mlp.down.weight", true}, {"mlp.down.bias", true},
};

class Layout {
 public:
  explicit Layout(const StageSpec& spec) : spec_(spec), all_(logical_params(spec.shape)) {
    for (const LogicalParam& p : all_) by_name_.emplace(p.name, &p);
  }

  std::vector<LocalParam> make() {
    const int parts = part_count(spec_);
    for (int part = 0; part < parts; ++part) {
      if (part == 0 && spec_.has_head) add_head();
      const Range blocks = blocks_of_part(spec_, part);
      for (std::int64_t b = blocks.end - 1; b >= blocks.begin; --b) add_block(b, part);
      if (part == parts - 1 && spec_.has_embedding) add_embedding(part);
    }
    return std::move(params_);
  }

 private:
  const LogicalParam* find(const std::string& name) const {
    const auto it = by_name_.find(name);
    return it == by_name_.end() ? nullptr : it->second;
  }

  void add_head() {
    for (const char* name : {"norm.weight", "norm.bias", "head.weight"})
      if (const LogicalParam* p = find(name)) add(*p, 0, true);
    if (spec_.shape.tied && !spec_.has_embedding) add(*find("embed.token.weight"), 0, true).tied_copy = true;
  }
  void add_embedding(int part) {
    if (const LogicalParam* p = find("embed.position.weight")) add(*p, part, true);
    add(*find("embed.token.weight"), part, true).tied = spec_.shape.tied && !spec_.has_head;
  }
  void add_block(std::int64_t block, int part) {
    const std::string prefix = block_prefix(block);
    // Without gates "mlp.up" opens its own group.
    for (const Place& place : kBlockOrder) {
      const LogicalParam* p = find(prefix + std::string(place.suffix));
      if (!p) continue;
      const bool up_alone = spec_.shape.mlp == Mlp::kGelu && place.suffix.substr(0, 6) == "mlp.up";
      add(*p, part, place.starts_group || up_alone);
    }
  }

  LocalParam& add(const LogicalParam& logical, int part, bool starts_group) {
    LocalParam p;
    p.logical = logical;
    p.part = part;
    p.offset = logical.shape;
    p.count = logical.shape;
    for (int axis = 0; axis < logical.shape.rank(); ++axis) p.offset[axis] = 0;
    for (const Split& split : logical.splits) {
      const Range mine = split_range(logical.shape[split.axis], spec_.tensor_rank, spec_.tensor_size);
      p.offset[split.axis] = mine.begin;
      p.count[split.axis] = mine.count();
    }
    p.replicated = logical.splits.empty();
    // What norm regions and row-parallel biases add up covers the rows of this rank only.
    p.partial_over_tensor = p.replicated && spec_.sequence && spec_.tensor_size > 1;
    p.spread = spec_.master_ranks > 1 && read_by_products(p);
    const std::int64_t rows = p.count[0];
    p.master = p.spread ? owned_rows(rows, spec_.master_rank, spec_.master_ranks) : Range{0, rows};
    p.begin = starts_group ? aligned(end_) : end_;
    end_ = p.begin + p.count.count();
    params_.push_back(std::move(p));
    return params_.back();
  }

  const StageSpec& spec_;
  std::vector<LogicalParam> all_;
  std::unordered_map<std::string, const LogicalParam*> by_name_;
  std::vector<LocalParam> params_;
  std::int64_t end_ = 0;
};

}  // namespace

Range owned_rows(std::int64_t rows, int rank, int ranks) { return {rows * rank / ranks, rows * (rank + 1) / ranks}; }

bool read_by_products(const LocalParam& p) { return p.count.rank() == 2 && p.logical.name != "embed.position.weight"; }

View param_rows(const LocalParam& p, Range rows) {
  if (rows.begin < p.master.begin || rows.end > p.master.end)
    throw BugError("{} is asked for rows {} to {}, but {} to {} are here", p.logical.name, rows.begin, rows.end,
                   p.master.begin, p.master.end);
  return p.param.rows(rows.begin - p.master.begin, rows.end - p.master.begin);
}

std::vector<LocalParam> local_params(const StageSpec& spec) {
  check_stage_spec(spec);
  return Layout(spec).make();
}

std::int64_t arena_count(const std::vector<LocalParam>& params) {
  std::int64_t end = 0;
  for (const LocalParam& p : params) end = std::max(end, p.begin + p.count.count());
  return aligned(end);
}

int part_count(const StageSpec& spec) {
  return spec.part_blocks.empty() ? chunk_count(spec) : static_cast<int>(spec.part_blocks.size());
}

Range blocks_of_part(const StageSpec& spec, int part) {
  if (part < 0 || part >= part_count(spec)) throw BugError("the backward pass has no part {}", part);
  int chunk = chunk_count(spec) - 1;
  while (parts_of_chunk(spec, chunk).end <= part) --chunk;
  if (spec.part_blocks.empty()) return blocks_of_chunk(spec, chunk);
  std::int64_t end = blocks_of_chunk(spec, chunk).end;
  for (auto i = static_cast<int>(parts_of_chunk(spec, chunk).begin); i < part; ++i)
    end -= spec.part_blocks[static_cast<std::size_t>(i)];
  return {end - spec.part_blocks[static_cast<std::size_t>(part)], end};
}

}  // namespace banyan::model
