#include "src/plan/cost.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "comm/tree_cost.hpp"
#include "src/model/local_params.hpp"
#include "src/parallel/play.hpp"
#include "src/plan/step_price.hpp"

namespace banyan::plan {

PassFlops block_flops(const model::ModelShape& s, bool recompute) {
  const double linear = 2 * model::block_weights(s);
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

parallel::PassTicks pass_ticks(const model::ModelShape& shape) {
  const PassFlops block = block_flops(shape, false);
  const double weights = 2 * model::block_weights(shape);
  const auto ticks = [&](double flops) {
    return std::max(1, static_cast<int>(std::lround(100 * flops / block.forward)));
  };
  return {ticks(block.forward), ticks(block.backward - weights), ticks(weights)};
}

PassFlops stage_flops(const Layout& layout, int stage) {
  PassFlops flops;
  const auto blocks = static_cast<double>(layout.blocks_of(stage));
  const PassFlops block = block_flops(layout.model, layout.recompute == model::Recompute::kBlock);
  flops += {block.forward * blocks, block.backward * blocks};
  if (stage == 0) flops += embedding_flops(layout.model);
  if (stage == layout.head_stage()) flops += head_flops(layout.model);
  return flops;
}

Division division_of(const Layout& layout) {
  Division d;
  d.mesh = layout.mesh;
  d.microbatch = layout.sequences;
  d.zero = layout.zero ? 1 : 0;
  d.recompute = layout.recompute == model::Recompute::kBlock   ? Recompute::kBlock
                : layout.recompute == model::Recompute::kCheap ? Recompute::kCheap
                                                               : Recompute::kNone;
  d.sequence = layout.sequence;
  d.tensor_blocks = layout.tensor_blocks;
  if (layout.gradients == DType::kBF16) d.gradient_bytes = 2;
  d.virtual_stages = layout.chunks;
  d.precision = layout.activations == DType::kBF16 ? Precision::kBf16 : Precision::kFp32;
  d.schedule = layout.schedule;
  return d;
}

std::vector<Pass> computing_of(const Layout& layout, const Machine& machine) {
  Machine silent = machine;
  for (comm::TreeLevel& level : silent.links) {
    level.latency = 0;
    level.rate = std::numeric_limits<double>::infinity();
    level.host = {};
  }
  const StepCost cost = step_cost(layout, silent);
  std::vector<Pass> passes;
  for (std::size_t s = 0; s < cost.forward.size(); ++s) passes.push_back({cost.forward[s], cost.backward[s]});
  return passes;
}

StepCost step_cost(const Layout& layout, const Machine& machine) {
  StepCost cost;
  const Division division = division_of(layout);
  const int stages = layout.mesh.pipeline;
  const BlockPrice block = block_price(layout.model, division, machine);
  const BlockPrice head = head_price(layout.model, division, machine);
  const Pass embedding = embedding_price(layout.model, division, machine);

  // Data rank 0 has the most microbatches, so its pipeline is the slowest.
  const double microbatches = static_cast<double>(layout.microbatches_of(0).count);
  std::vector<Pass> at_place;
  for (std::size_t place = 0; place < layout.places.size(); ++place) {
    const double blocks = static_cast<double>(layout.places[place].count());
    Pass pass{blocks * block.forward(), blocks * block.backward()};
    if (place == 0) pass.forward += embedding.forward, pass.backward += embedding.backward;
    if (place + 1 == layout.places.size()) pass.forward += head.forward(), pass.backward += head.backward();
    at_place.push_back(pass);
  }
  std::vector<std::vector<parallel::Action>> schedules;
  double dearest_tensor = 0, work = 0;
  for (int s = 0; s < stages; ++s) {
    double forward = 0, backward = 0;
    for (int chunk = 0; chunk < layout.chunks; ++chunk) {
      const Pass& pass = at_place[static_cast<std::size_t>(layout.place(s, chunk))];
      forward += pass.forward;
      backward += pass.backward;
    }
    cost.forward.push_back(forward);
    cost.backward.push_back(backward);
    work += microbatches * (forward + backward);
    const double again = layout.recompute == model::Recompute::kBlock ? block.tensor.forward : 0;
    dearest_tensor =
        std::max(dearest_tensor, static_cast<double>(layout.blocks_of(s)) * (block.tensor.total() + again));
    schedules.push_back(parallel::make_schedule(layout.schedule_args({.pipeline = s})));
  }
  const parallel::ActionCost price = [&](int, const parallel::Action& a) {
    const auto place = static_cast<std::size_t>(a.place);
    if (a.kind == parallel::ActionKind::kForward) return at_place[place].forward;
    const double weights = static_cast<double>(layout.places[place].count()) * block.weights;
    const auto parts = static_cast<double>(layout.part_blocks[place].size());
    if (a.kind == parallel::ActionKind::kBackward) return at_place[place].backward / parts;
    if (a.kind == parallel::ActionKind::kBackwardInput) return at_place[place].backward - weights;
    if (a.kind == parallel::ActionKind::kBackwardWeights) return weights / parts;
    return 0.0;
  };
  // This program sends a stream whole, whatever other programs do.
  const double message_bytes = static_cast<double>(layout.sequences * layout.model.context * layout.model.width) *
                               static_cast<double>(size_of(layout.activations)) /
                               (layout.sequence ? layout.mesh.tensor : 1);
  const double message =
      stages > 1 ? comm::tree_message_seconds(machine.links, {stages, division.pipeline_stride()}, message_bytes) : 0;
  const parallel::Timeline timeline = parallel::play(schedules, price, message);
  const double turns = core_turns(machine, layout.mesh.size());
  cost.pipeline = std::max(timeline.makespan, work / stages * turns);
  cost.bubble_share = cost.pipeline > 0 ? 1 - work / stages * turns / cost.pipeline : 0;
  for (std::size_t s = 0; s < timeline.played.size(); ++s)
    cost.waiting += std::max(0.0, timeline.played[s].back().end - timeline.busy[s] * turns) / stages;
  cost.tensor_share = dearest_tensor * microbatches;

  const comm::RegularGroup data{layout.mesh.data, division.data_stride()};
  const RankSpeed speed = rank_speed(machine, division.precision, layout.mesh.size());
  for (int s = 0; s < stages; ++s) {
    const auto stage = static_cast<std::size_t>(s);
    std::vector<double> part_bytes(static_cast<std::size_t>(layout.parts(s)), 0.0);
    double bytes = 0;
    for (const model::LocalParam& p : model::local_params(layout.stage_spec({.pipeline = s}))) {
      part_bytes[static_cast<std::size_t>(p.part)] +=
          static_cast<double>(p.count.count()) * static_cast<double>(size_of(layout.gradients));
      bytes += static_cast<double>(p.count.count()) * 4;
    }
    // Buckets travel while later parts of the last microbatch are computed; the last bucket has nothing to hide behind.
    // Time runs from the start of that backward pass.
    const double part_seconds = machine.hide_gradients * cost.backward[stage] / static_cast<double>(part_bytes.size());
    double computed = 0, reduced = 0;
    for (double part : part_bytes) {
      computed += part_seconds;
      reduced =
          std::max(reduced, computed) + (layout.zero ? comm::tree_reduce_scatter_seconds(machine.links, data, part)
                                                     : comm::tree_all_reduce_seconds(machine.links, data, part));
    }
    cost.reduce = std::max(cost.reduce, (reduced - computed) * turns);
    // Parameter, gradient and two moments are read, all but the gradient written, and in bf16 the rounded parameter.
    const double share = layout.zero ? layout.mesh.data : 1;
    const double rounded = division.precision == Precision::kBf16 ? 0.5 : 0;
    double update = turns * (7 + rounded) * bytes / share / speed.memory_rate;
    // Of matrices that have a rounded copy only that travels.
    const double gathered = division.precision == Precision::kBf16 ? bytes / 2 : bytes;
    if (layout.zero) update += turns * comm::tree_all_gather_seconds(machine.links, data, gathered);
    cost.update = std::max(cost.update, update);
  }
  cost.step = cost.pipeline + cost.reduce + cost.update;
  cost.tokens_per_second = static_cast<double>(layout.tokens_per_batch()) / cost.step;
  cost.flops_per_token = model::flops_per_token(layout.model);
  return cost;
}

}  // namespace banyan::plan
