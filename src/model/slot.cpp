#include "src/model/slot.hpp"

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

void Slot::load(const StageSpec& spec, kernels::Backend& backend, const MicrobatchData& data) {
  const std::size_t rows = static_cast<std::size_t>(spec.rows());
  const auto check = [&](std::size_t size, const char* what) {
    if (size != rows) throw BugError("a microbatch of {} rows came with {} {}", rows, size, what);
  };
  if (spec.has_embedding) {
    check(data.tokens.size(), "tokens");
    backend.copy({}, tokens, ConstView(data.tokens.data(), {spec.rows()}));
  }
  if (spec.has_head) {
    check(data.targets.size(), "targets");
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
