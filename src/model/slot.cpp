#include "src/model/slot.hpp"

#include <limits>

#include "src/base/error.hpp"

namespace banyan::model {

BlockActivations block_activations(const Arena& arena, const std::string& prefix) {
  return {attention_activations(arena, prefix), arena.at(prefix + "middle"), mlp_activations(arena, prefix)};
}

Slot::Slot(const StageSpec& spec, kernels::Backend& backend, const ActivationPlan& plan)
    : sample(static_cast<std::size_t>(spec.rows())), arena_(backend, plan.slot, plan.slot_bytes) {
  tokens = arena_.find("tokens");
  targets = arena_.find("targets");
  for (std::int64_t i = spec.first_block; i <= spec.last_block; ++i)
    stream.push_back(arena_.at("stream." + std::to_string(i)));
  if (spec.gradients && !spec.recompute)
    for (std::int64_t i = spec.first_block; i < spec.last_block; ++i)
      blocks.push_back(block_activations(arena_, "block." + std::to_string(i) + "."));
  if (spec.has_head) head = {norm_activations(arena_, "head.", ""), arena_.at("head.loss")};
  d_stream = arena_.find("d_stream");
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
  if (spec.has_embedding) {
    check(data.tokens.size(), "tokens");
    check_tokens(data.tokens, spec.shape.vocab, 0);
    backend.copy({}, tokens, ConstView(data.tokens.data(), {spec.rows()}));
  }
  if (spec.has_head) {
    check(data.targets.size(), "targets");
    check_tokens(data.targets, spec.shape.vocab, std::numeric_limits<std::int32_t>::min());
    backend.copy({}, targets, ConstView(data.targets.data(), {spec.rows()}));
  }
  if (data.train && spec.shape.dropout > 0) {
    check(data.sample.size(), "sample numbers");
    sample.assign(data.sample.begin(), data.sample.end());
  }
  step = data.step;
  loss_scale = data.loss_scale;
  train = data.train;
  next_part = -1;
}

}  // namespace banyan::model
