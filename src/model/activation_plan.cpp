#include "src/model/activation_plan.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "src/base/error.hpp"
#include "src/model/params.hpp"

namespace banyan::model {
namespace {

constexpr std::size_t kAlignment = 64;
/// Logits of more rows than fit here are made in several chunks.
constexpr std::int64_t kLogitsBytes = std::int64_t{128} << 20;

/// Lays buffers end to end.
class Builder {
 public:
  void add(std::string name, Shape shape, DType dtype = DType::kF32) {
    const std::size_t bytes = static_cast<std::size_t>(shape.count()) * size_of(dtype);
    buffers_.push_back({std::move(name), shape, dtype, end_, bytes});
    end_ = (end_ + bytes + kAlignment - 1) / kAlignment * kAlignment;
    most_ = std::max(most_, end_);
  }
  /// What is added next lies over everything added since keep() was called.
  void keep() { kept_ = end_; }
  void start_over() { end_ = kept_; }
  std::vector<PlannedBuffer> take() { return std::move(buffers_); }
  std::size_t bytes() const { return most_; }

 private:
  std::vector<PlannedBuffer> buffers_;
  std::size_t end_ = 0, kept_ = 0, most_ = 0;
};

/// Extents on this rank.
struct Local {
  explicit Local(const StageSpec& s)
      : width(s.shape.width),
        query(s.shape.heads * s.shape.head_size() / s.tensor_size),
        qkv(query + 2 * s.shape.kv_heads * s.shape.head_size() / s.tensor_size),
        heads(s.shape.heads / s.tensor_size),
        ffn(s.shape.ffn / s.tensor_size),
        wide(s.shape.mlp == Mlp::kSwiglu ? 2 * ffn : ffn),
        vocab(std::max<std::int64_t>(1, split_range(s.shape.vocab, s.tensor_rank, s.tensor_size).count())) {}
  std::int64_t width, query, qkv, heads, ffn, wide, vocab;
};

void add_norm(Builder& b, const StageSpec& spec, const std::string& prefix, const std::string& number,
              std::int64_t rows, bool again = false) {
  if (!again) b.add(prefix + "normed" + number, {rows, spec.shape.width}, spec.activations);
  if (spec.shape.norm == Norm::kLayer) b.add(prefix + "mean" + number, {rows});
  b.add(prefix + "rstd" + number, {rows});
}

/// What the forward pass of one block leaves for its backward pass, and of a split one its first half for the second.
void add_block(Builder& b, const StageSpec& spec, const std::string& prefix, bool cheap = false) {
  const Local n(spec);
  const std::int64_t rows = spec.rows(), stream = spec.stream_rows();
  add_norm(b, spec, prefix, "1", stream, cheap);
  b.add(prefix + "qkv", {rows, n.qkv}, spec.activations);
  b.add(prefix + "lse", {n.heads, rows});
  b.add(prefix + "attended", {rows, n.query}, spec.activations);
  b.add(prefix + "middle", {stream, n.width}, spec.activations);
  add_norm(b, spec, prefix, "2", stream, cheap);
  b.add(prefix + "wide", {rows, n.wide}, spec.activations);
  if (!cheap) b.add(prefix + "active", {rows, n.ffn}, spec.activations);
  if (!spec.gradients || !spec.split_backward) return;
  b.add(prefix + "d_attention", {stream, n.width}, spec.activations);
  b.add(prefix + "d_qkv", {rows, n.qkv}, spec.activations);
  b.add(prefix + "d_mlp", {stream, n.width}, spec.activations);
  b.add(prefix + "d_wide", {rows, n.wide}, spec.activations);
}

}  // namespace

std::int64_t head_chunk_rows(const StageSpec& spec, std::int64_t rows) {
  // The share of the first member, so that all members work on the same rows at a time.
  const std::int64_t vocab = split_range(spec.shape.vocab, 0, spec.tensor_size).count();
  const std::int64_t most =
      std::max<std::int64_t>(1, kLogitsBytes / (static_cast<std::int64_t>(size_of(spec.activations)) * vocab));
  const std::int64_t chunks = (rows + most - 1) / most;
  return chunks <= 1 ? rows : (rows + chunks - 1) / chunks;
}

bool keeps_blocks(const StageSpec& spec) { return spec.gradients && spec.recompute != Recompute::kBlock; }

std::string chunk_prefix(int chunk) { return chunk == 0 ? "" : fmt::format("chunk.{}.", chunk); }

ActivationPlan activation_plan(const StageSpec& spec) {
  check_stage_spec(spec);
  ActivationPlan plan;
  if (spec.slots == 0) return plan;
  const Local n(spec);
  const std::int64_t rows = spec.rows(), stream = spec.stream_rows();
  const bool cheap = keeps_blocks(spec) && spec.recompute == Recompute::kCheap;

  Builder slot;
  // Before all chunks: its send may still be under way when the slot takes the next microbatch.
  if (spec.gradients) slot.add("d_stream", {stream, n.width}, spec.activations);
  slot.keep();
  for (int chunk = 0; chunk < chunk_count(spec); ++chunk) {
    const std::string prefix = chunk_prefix(chunk);
    const Range blocks = blocks_of_chunk(spec, chunk);
    slot.start_over();
    if (spec.has_embedding && chunk == 0) slot.add(prefix + "tokens", {rows}, DType::kI32);
    if (spec.has_head && chunk + 1 == chunk_count(spec)) slot.add(prefix + "targets", {rows}, DType::kI32);
    for (std::int64_t i = blocks.begin; i <= blocks.end; ++i)
      slot.add(prefix + fmt::format("stream.{}", i), {stream, n.width}, spec.activations);
    if (keeps_blocks(spec))
      for (std::int64_t i = blocks.begin; i < blocks.end; ++i)
        add_block(slot, spec, prefix + fmt::format("block.{}.", i), cheap);
    if (spec.has_head && chunk + 1 == chunk_count(spec)) {
      add_norm(slot, spec, prefix + "head.", "", stream);
      slot.add(prefix + "head.loss", {rows});
    }
  }
  plan.slot_bytes = slot.bytes();
  plan.slot = slot.take();

  Builder scratch;
  scratch.add("positions", {rows}, DType::kI32);
  scratch.add("rows.partial", {rows, n.width}, spec.activations);
  if (spec.sequence && spec.tensor_size > 1) scratch.add("rows.gathered", {rows, n.width}, spec.activations);
  if (!keeps_blocks(spec) && spec.last_block > spec.first_block) add_block(scratch, spec, "block.");
  if (cheap && spec.last_block > spec.first_block) {
    scratch.add("again.normed", {stream, n.width}, spec.activations);
    scratch.add("again.active", {rows, n.ffn}, spec.activations);
  }
  if (spec.gradients && spec.last_block > spec.first_block) {
    if (!spec.split_backward) scratch.add("d_wide", {rows, std::max(n.qkv, n.wide)}, spec.activations);
    scratch.add("d_inner", {rows, spec.shape.mlp == Mlp::kSwiglu ? std::max(n.query, n.ffn) : n.query},
                spec.activations);
  }
  if (spec.has_head) {
    const std::int64_t chunk = head_chunk_rows(spec, rows);
    // Rows that begin at cache lines: products read them a sixth faster than those of an odd vocabulary.
    constexpr std::int64_t line = 32;
    scratch.add("head.logits", {chunk, (n.vocab + line - 1) / line * line}, spec.activations);
    scratch.add("head.statistics", {5 * chunk});
  }
  plan.scratch_bytes = scratch.bytes();
  plan.scratch = scratch.take();
  return plan;
}

InferPlan infer_plan(const StageSpec& spec, std::int32_t blocks, std::int32_t block_size, std::int64_t max_rows) {
  check_stage_spec(spec);
  if (blocks < 1 || block_size < 1 || max_rows < 1)
    throw BugError("a key and value cache of {} blocks of {} rows for {} new rows at a time cannot be made", blocks,
                   block_size, max_rows);
  const Local n(spec);
  const std::int64_t key_value = spec.shape.kv_heads * spec.shape.head_size() / spec.tensor_size;
  const std::int64_t cached = std::int64_t{blocks} * block_size;
  Builder b;
  for (std::int64_t i = spec.first_block; i < spec.last_block; ++i) {
    b.add(fmt::format("cache.{}.key", i), {cached, key_value});
    b.add(fmt::format("cache.{}.value", i), {cached, key_value});
  }
  b.add("tokens", {max_rows}, DType::kI32);
  b.add("positions", {max_rows}, DType::kI32);
  b.add("hidden", {max_rows, n.width});
  b.add("rows.partial", {max_rows, n.width});
  add_norm(b, spec, "", "", max_rows);
  b.add("qkv", {max_rows, n.qkv});
  b.add("lse", {n.heads * max_rows});
  b.add("attended", {max_rows, n.query});
  b.add("wide", {max_rows, n.wide});
  b.add("active", {max_rows, n.ffn});
  if (spec.has_head) {
    const std::int64_t chunk = head_chunk_rows(spec, max_rows);
    b.add("head.logits", {chunk, n.vocab});
    if (spec.tensor_size > 1) b.add("head.gathered", {chunk * spec.shape.vocab});
  }
  InferPlan plan;
  plan.bytes = b.bytes();
  plan.buffers = b.take();
  return plan;
}

}  // namespace banyan::model
