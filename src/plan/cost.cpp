#include "src/plan/cost.hpp"

#include <algorithm>
#include <utility>

#include "comm/cost.hpp"
#include "src/model/local_params.hpp"
#include "src/parallel/play.hpp"

namespace banyan::plan {
namespace {

/// Weights of the matrices of a block.
double block_weights(const model::ModelShape& s) {
  const double query = static_cast<double>(s.heads * s.head_size());
  const double key_value = static_cast<double>(s.kv_heads * s.head_size());
  const double matrices = s.mlp == model::Mlp::kSwiglu ? 3 : 2;
  return static_cast<double>(s.width) * (2 * query + 2 * key_value + matrices * static_cast<double>(s.ffn));
}

comm::LinkCost link(const Machine& m) { return {m.message_latency, m.message_rate}; }

double all_reduce_seconds(const Machine& m, double bytes, int ranks) {
  return comm::ring_all_reduce_seconds(link(m), bytes, ranks);
}

}  // namespace

PassFlops block_flops(const model::ModelShape& s, bool recompute) {
  const double linear = 2 * block_weights(s);
  // Scores and weighted sum under the causal mask, which leaves half of context x context; backward makes five products
  // of that size where forward makes two.
  const double attention = 2.0 * static_cast<double>(s.heads * s.head_size()) * static_cast<double>(s.context);
  PassFlops flops{linear + attention, 2 * linear + 2.5 * attention};
  if (recompute) flops.backward += flops.forward;
  return flops;
}

PassFlops head_flops(const model::ModelShape& s) {
  const double product = 2.0 * static_cast<double>(s.width) * static_cast<double>(s.vocab);
  // The head turns logits into gradients where they lie, so its backward pass belongs to the forward action.
  return {3 * product, 0};
}

PassFlops embedding_flops(const model::ModelShape& s) {
  const double additions = static_cast<double>(s.width) * (s.position == model::Position::kLearned ? 2 : 1);
  return {additions, additions};
}

PassFlops stage_flops(const Layout& layout, int stage) {
  PassFlops flops;
  const parallel::BlockRange blocks = layout.stages.at(static_cast<std::size_t>(stage));
  const PassFlops block = block_flops(layout.model, layout.recompute);
  flops += {block.forward * static_cast<double>(blocks.count()), block.backward * static_cast<double>(blocks.count())};
  if (stage == 0) flops += embedding_flops(layout.model);
  if (stage + 1 == layout.mesh.pipeline) flops += head_flops(layout.model);
  return flops;
}

StepCost step_cost(const Layout& layout, const Machine& machine) {
  StepCost cost;
  const int stages = layout.mesh.pipeline, tensor = layout.mesh.tensor;
  const double tokens = static_cast<double>(layout.sequences * layout.model.context);
  const double stream_bytes = tokens * static_cast<double>(layout.model.width) * 4;
  const double split_bytes = layout.sequence ? stream_bytes / tensor : stream_bytes;

  // Data rank 0 has the most microbatches, so its pipeline is the slowest.
  std::vector<std::vector<parallel::Action>> schedules;
  double dearest_tensor = 0;
  for (int s = 0; s < stages; ++s) {
    const PassFlops flops = stage_flops(layout, s);
    const double blocks = static_cast<double>(layout.stages[static_cast<std::size_t>(s)].count());
    // Two reductions of the residual stream in each direction (reduce-scatter and all-gather move the same bytes).
    const double reductions = 2 * blocks * all_reduce_seconds(machine, stream_bytes, tensor);
    cost.forward.push_back(flops.forward * tokens / tensor / machine.flops + reductions);
    cost.backward.push_back(flops.backward * tokens / tensor / machine.flops + reductions);
    dearest_tensor = std::max(dearest_tensor, 2 * reductions);
    schedules.push_back(parallel::make_schedule(layout.schedule_args({.pipeline = s})));
  }
  const parallel::ActionCost price = [&](int s, const parallel::Action& a) {
    const auto stage = static_cast<std::size_t>(s);
    if (a.kind == parallel::ActionKind::kForward) return cost.forward[stage];
    if (a.kind == parallel::ActionKind::kBackward) return cost.backward[stage] / layout.parts(s);
    return 0.0;
  };
  const double message = stages > 1 ? link(machine).seconds(split_bytes) : 0;
  const parallel::Timeline timeline = parallel::play(schedules, price, message);
  cost.pipeline = timeline.makespan;
  cost.bubble_share = timeline.bubble_share();
  cost.tensor_share = dearest_tensor * static_cast<double>(layout.microbatches_of(0).count);

  for (int s = 0; s < stages; ++s) {
    const auto stage = static_cast<std::size_t>(s);
    std::vector<double> part_bytes(static_cast<std::size_t>(layout.parts(s)), 0.0);
    double bytes = 0;
    for (const model::LocalParam& p : model::local_params(layout.stage_spec({.pipeline = s}))) {
      part_bytes[static_cast<std::size_t>(p.part)] += static_cast<double>(p.count.count()) * 4;
      bytes += static_cast<double>(p.count.count()) * 4;
    }
    // Buckets travel while later parts of the last microbatch are computed; the last bucket has nothing to hide behind.
    // Time runs from the start of that backward pass.
    const double part_seconds = cost.backward[stage] / static_cast<double>(part_bytes.size());
    double computed = 0, reduced = 0;
    for (double part : part_bytes) {
      computed += part_seconds;
      reduced = std::max(reduced, computed) + all_reduce_seconds(machine, part, layout.mesh.data);
    }
    const double exposed = reduced - computed;
    cost.reduce = std::max(cost.reduce, exposed);
    // Parameter, gradient and two moments are read, all but the gradient written.
    const double share = layout.zero ? layout.mesh.data : 1;
    double update = 7 * bytes / share / machine.update_rate;
    if (layout.zero) update += all_reduce_seconds(machine, bytes, layout.mesh.data) / 2;
    cost.update = std::max(cost.update, update);
  }
  cost.step = cost.pipeline + cost.reduce + cost.update;
  cost.tokens_per_second = static_cast<double>(layout.tokens_per_batch()) / cost.step;
  cost.flops_per_token = model::flops_per_token(layout.model);
  return cost;
}

}  // namespace banyan::plan
