#include "src/model/slot.hpp"

#include <limits>

#include "src/base/error.hpp"

namespace banyan::model {

BlockActivations block_activations(const Arena& arena, const std::string& prefix, const Arena& shared) {
  BlockActivations a{attention_activations(arena, prefix), arena.at(prefix + "middle"), mlp_activations(arena, prefix),
                     attention_gradients(arena, prefix), mlp_gradients(arena, prefix)};
  if (!a.attention.norm.normed) a.attention.norm.normed = a.mlp.norm.normed = shared.at("again.normed");
  if (!a.mlp.active) a.mlp.active = shared.at("again.active");
  return a;
}

Slot::Slot(const StageSpec& spec, kernels::Backend& backend, const ActivationPlan& plan, const Arena& scratch)
    : sample(static_cast<std::size_t>(spec.rows())), arena_(backend, plan.slot, plan.slot_bytes) {
  d_stream = arena_.find("d_stream");
  for (int c = 0; c < chunk_count(spec); ++c) {
    const std::string prefix = chunk_prefix(c);
    const Range range = blocks_of_chunk(spec, c);
    ChunkActivations& views = chunks.emplace_back();
    views.tokens = arena_.find(prefix + "tokens");
    views.targets = arena_.find(prefix + "targets");
    for (std::int64_t i = range.begin; i <= range.end; ++i)
      views.stream.push_back(arena_.at(prefix + "stream." + std::to_string(i)));
    if (keeps_blocks(spec))
      for (std::int64_t i = range.begin; i < range.end; ++i)
        views.blocks.push_back(block_activations(arena_, prefix + "block." + std::to_string(i) + ".", scratch));
    if (views.targets) views.head = {norm_activations(arena_, prefix + "head.", ""), arena_.at(prefix + "head.loss")};
  }
}

void check_tokens(std::span<const std::int32_t> tokens, std::int64_t vocab, std::int32_t lowest) {
  for (const std::int32_t t : tokens)
    if (t < lowest || t >= vocab)
      throw DataError(
          "token id {} is outside the model's vocabulary of {}; the tokens were made with another tokenizer than the "
          "model's",
          t, vocab);
}

void Slot::load(const StageSpec& spec, kernels::Backend& backend, const MicrobatchData& data) {
  const std::size_t rows = static_cast<std::size_t>(spec.rows());
  const auto check = [&](std::size_t size, const char* what) {
    if (size != rows) throw BugError("a microbatch of {} rows came with {} {}", rows, size, what);
  };
  if (data.chunk < 0 || data.chunk >= chunk_count(spec))
    throw BugError("a microbatch came for chunk {} of {}", data.chunk, chunk_count(spec));
  chunk = data.chunk;
  if (here().tokens) {
    check(data.tokens.size(), "tokens");
    check_tokens(data.tokens, spec.shape.vocab, 0);
    backend.copy({}, here().tokens, ConstView(data.tokens.data(), {spec.rows()}));
  }
  if (here().targets) {
    check(data.targets.size(), "targets");
    check_tokens(data.targets, spec.shape.vocab, std::numeric_limits<std::int32_t>::min());
    backend.copy({}, here().targets, ConstView(data.targets.data(), {spec.rows()}));
  }
  if (data.train && spec.shape.dropout > 0) {
    check(data.sample.size(), "sample numbers");
    sample.assign(data.sample.begin(), data.sample.end());
  }
  step = data.step;
  loss_scale = data.loss_scale;
  train = data.train;
  next_part = -1;
  input_next = false;
}

}  // namespace banyan::model
