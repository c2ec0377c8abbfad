#include "src/plan/step_price.hpp"

#include <algorithm>
#include <cmath>

#include "src/parallel/fill.hpp"
#include "src/plan/cost.hpp"

namespace banyan::plan {

ParameterCounts parameter_counts(const model::ModelShape& s) {
  const double width = static_cast<double>(s.width), query = static_cast<double>(s.heads * s.head_size());
  const double key_value = static_cast<double>(s.kv_heads * s.head_size()), ffn = static_cast<double>(s.ffn);
  const bool swiglu = s.mlp == model::Mlp::kSwiglu;
  const double norm = width * (s.norm == model::Norm::kLayer ? 2 : 1);
  ParameterCounts c;
  c.block = model::block_weights(s) + 2 * norm;
  if (s.bias) c.block += query + 2 * key_value + width + (swiglu ? 2 : 1) * ffn + width;
  c.embedding = static_cast<double>(s.vocab) * width;
  if (s.position == model::Position::kLearned) c.embedding += static_cast<double>(s.context) * width;
  c.head = norm + static_cast<double>(s.vocab) * width;
  return c;
}

double recomputed_flops(const model::ModelShape& s, Recompute recompute) {
  if (recompute == Recompute::kNone || recompute == Recompute::kCheap) return 0;  // no products
  const double attention = 4 * static_cast<double>(s.layers * s.heads * s.head_size() * s.context);
  if (recompute == Recompute::kAttention) return attention;
  model::ModelShape blocks = s;
  blocks.vocab = 0;
  return model::flops_per_token(blocks) / 3;
}

DearestStage dearest_stage(double layers, int stages, double block, double first, double last, bool even) {
  if (stages == 1) return {layers, layers * block + first + last, layers, layers};
  const double most = std::ceil(layers / stages);
  if (even) {
    // As many for each; what is missing is missing at the ends, last first.
    const double missing = most * stages - layers;
    const double at_end = most - std::min(missing, 1.0), at_begin = most - (missing > 1 ? 1.0 : 0.0);
    return {most, std::max({most * block, at_begin * block + first, at_end * block + last}), at_begin, at_end};
  }
  // The smallest bound under which whole blocks find room; bounds are multiples of a block, with or without an end.
  const auto fits = [&](double bound, double extra) {
    return std::max(1.0, std::floor((bound - extra) / block * (1 + 1e-12)));
  };
  const auto room = [&](double bound) {
    return fits(bound, first) + fits(bound, last) + (stages - 2) * fits(bound, 0);
  };
  const double mean = (layers * block + first + last) / stages;
  double best = most * block + first + last;
  for (double extra : {0.0, first, last}) {
    double count = std::max(1.0, std::floor((mean - extra) / block) - 1);
    for (;; ++count) {
      const double bound = count * block + extra;
      if (bound >= best) break;
      if (bound >= block + std::max(first, last) && room(bound) >= layers) {
        best = bound;
        break;
      }
    }
  }
  // Below the bound the cut is as even as it can be.
  const double at_end = std::min(fits(best, last), std::ceil(layers / stages));
  const double others = std::ceil((layers - at_end) / (stages - 1));
  return {std::min(fits(best, 0), others), best, std::min(fits(best, first), others), at_end};
}

StepPrice step_price(const model::ModelShape& shape, const Division& d, std::int64_t batch, const Machine& machine) {
  return step_price(shape, d, batch, machine,
                    {block_price(shape, d, machine), head_price(shape, d, machine), embedding_price(shape, d, machine),
                     fill_share(shape, d, batch)});
}

double microbatches_of(const Division& d, std::int64_t batch) {
  return std::ceil(static_cast<double>(batch) / static_cast<double>(d.microbatch) / d.mesh.data);
}

namespace {

/// ZB-H1 of unlike stages: the longest of the ways through the schedule that stay with one stage after the way there
/// and before the way back, without gradients of weights.  Stage s has p - s microbatches in flight, of which it
/// computes all but one ahead while the first one is behind it, and s gradients of weights that it keeps until its last
/// microbatch has gone on; the first stage keeps none, so that one of its own comes last (parallel/schedule.cpp).
struct SplitPass {
  double forward, input, weights;
  double total() const { return forward + input + weights; }
};
double zb_h1_seconds(const SplitPass& first, const SplitPass& middle, const SplitPass& last, int stages,
                     double microbatches) {
  const auto sum = [&](double SplitPass::*of) { return first.*of + (stages - 2) * (middle.*of) + last.*of; };
  const double ways = sum(&SplitPass::forward) + sum(&SplitPass::input);
  double longest = 0;
  const auto stay = [&](const SplitPass& own, int s) {
    const double ahead = std::min<double>(microbatches, stages - s) - 1, late = std::min<double>(microbatches, s + 1);
    const double hidden = ahead * own.forward + late * own.weights - first.weights;
    longest = std::max(longest, microbatches * own.total() + std::max(0.0, ways - own.forward - own.input - hidden));
  };
  stay(first, 0);
  for (const int s : {1, stages - 2})
    if (s > 0 && s + 1 < stages) stay(middle, s);
  stay(last, stages - 1);
  return longest;
}

}  // namespace

double fill_share(const model::ModelShape& shape, const Division& d, std::int64_t batch) {
  return parallel::fill_share(d.schedule, d.mesh.pipeline, d.virtual_stages,
                              static_cast<int>(microbatches_of(d, batch)), pass_ticks(shape));
}

StepPrice step_price(const model::ModelShape& shape, const Division& d, std::int64_t batch, const Machine& machine,
                     const PartPrices& parts) {
  StepPrice p;
  const BlockPrice &block = parts.block, &head = parts.head;
  const Pass& embedding = parts.embedding;
  p.block = block;
  p.head = head;
  p.embedding = embedding;
  const int stages = d.mesh.pipeline, chunks = d.virtual_stages;
  const double layers = static_cast<double>(shape.layers);
  const double per_rank = microbatches_of(d, batch);
  p.microbatches = per_rank;

  const double block_seconds = block.forward() + block.backward(), head_seconds = head.forward() + head.backward();
  // In a V the first stage has both ends of the model.
  const bool v = d.schedule == parallel::ScheduleKind::kZbV;
  const DearestStage dearest =
      v ? dearest_stage(layers, stages, block_seconds, embedding.total() + head_seconds, 0, false)
        : dearest_stage(layers, stages, block_seconds, embedding.total(), head_seconds, chunks > 1);
  p.blocks = dearest.blocks;
  p.stage = dearest.seconds;
  p.stages = layers * block_seconds + head_seconds + embedding.total();
  p.steady = per_rank * p.stage;
  p.fill_share = parts.fill_share;
  if (d.schedule == parallel::ScheduleKind::kZbH1 && stages > 1) {
    const auto pass = [&](double blocks, const Pass& end) {
      return SplitPass{blocks * block.forward() + end.forward,
                       blocks * (block.backward() - block.weights) + end.backward, blocks * block.weights};
    };
    const double between = stages > 2 ? (layers - dearest.first_blocks - dearest.last_blocks) / (stages - 2) : 0;
    const double seconds =
        zb_h1_seconds(pass(dearest.first_blocks, embedding), pass(between, {}),
                      pass(dearest.last_blocks, {head.forward(), head.backward()}), stages, per_rank);
    p.fill_share = std::max(0.0, seconds - p.steady) / (p.stages - p.stage);
  }
  p.fill = stages > 1 ? (p.stages - p.stage) * p.fill_share : 0;
  if (stages > 1) {
    p.message = comm::tree_message_seconds(machine.links, {stages, d.pipeline_stride()}, stage_message_bytes(shape, d));
    // The first microbatch travels through all chunks alone, there and back; of the others the software hides some.
    // A V turns on its last stage.
    p.first_messages = 2.0 * (v ? 2 * (stages - 1) : stages * chunks - 1);
    p.messages = p.message * (p.first_messages + (1 - machine.hide_pipeline) * 2 * chunks * (per_rank - 1));
  }

  const ParameterCounts counts = parameter_counts(shape);
  const double ends = counts.embedding + (shape.tied ? 0 : counts.head);
  p.parameters = stages == 1 ? layers * counts.block + ends
                 : v         ? std::max(p.blocks * counts.block, dearest.first_blocks * counts.block + ends)
                             : std::max({(stages > 2 ? p.blocks * counts.block : 0),
                                         dearest.first_blocks * counts.block + counts.embedding,
                                         dearest.last_blocks * counts.block + counts.head});
  p.parameters /= d.mesh.tensor;
  const int replicas = d.mesh.data * d.mesh.context;
  const bool spread = d.zero > 0 && d.mesh.data > 1;
  if (replicas > 1) {
    // Context ranks hold the same parameters and are the nearer ones: they add first, data ranks what is left.
    const comm::RegularGroup near{d.mesh.context, d.mesh.tensor}, far{d.mesh.data, d.data_stride()};
    const auto scattered = [&](double bytes) {
      return comm::tree_reduce_scatter_seconds(machine.links, near, bytes) +
             comm::tree_reduce_scatter_seconds(machine.links, far, bytes / d.mesh.context);
    };
    const auto gathered = [&](double bytes) {
      return comm::tree_all_gather_seconds(machine.links, far, bytes / d.mesh.context) +
             comm::tree_all_gather_seconds(machine.links, near, bytes);
    };
    const auto reduced = [&](double bytes) {
      return comm::tree_reduce_scatter_seconds(machine.links, near, bytes) +
             comm::tree_all_reduce_seconds(machine.links, far, bytes / d.mesh.context) +
             comm::tree_all_gather_seconds(machine.links, near, bytes);
    };
    const double sent = p.parameters * (d.gradient_bytes > 0 ? d.gradient_bytes : machine.gradient_bytes);
    p.reduction = spread ? scattered(sent) : reduced(sent);
    const double backward = p.blocks * block.backward();
    p.gradients = std::max(p.reduction - machine.hide_gradients * backward,
                           p.reduction / std::max(1.0, p.blocks));  // of the last block nothing can be hidden
    if (spread) {
      const double bytes = p.parameters * (d.precision == Precision::kFp32 ? 4 : 2);
      const double once = gathered(bytes);
      const double times = d.zero == 3 ? 2 * per_rank : 1;
      p.gather = once * times;
      const double window = d.zero == 3 ? p.steady : p.blocks * block.forward();
      p.gathering = std::max(p.gather - machine.hide_parameters * window, p.gather / std::max(1.0, p.blocks));
    }
  }
  const RankSpeed speed = rank_speed(machine, d.precision, d.mesh.size());
  // Read: parameter, gradient, two moments; written: all but the gradient.  With two-byte arithmetic the master copy
  // is in four bytes and the parameter in two beside it.
  const double update_bytes = d.precision == Precision::kFp32 ? 28 : 24 + machine.gradient_bytes + 2;
  p.update = p.parameters * update_bytes / (spread ? d.mesh.data : 1) / speed.memory_rate;

  const double pipeline = p.steady + p.fill + p.messages;
  // Who waits lends its core to another rank: no less time than the work of all takes on all cores.
  if (const double turns = core_turns(machine, d.mesh.size()); turns > 1) {
    p.crowding =
        std::max(0.0, per_rank * p.stages / stages * turns - pipeline) + (turns - 1) * (p.gradients + p.gathering);
    p.update *= turns;
  }
  p.step = pipeline + p.crowding + p.gradients + p.gathering + p.update;

  const double busy = per_rank * p.stages / stages * core_turns(machine, d.mesh.size());
  p.bubble_share = std::max(0.0, 1 - busy / (pipeline + p.crowding));
  p.tensor =
      per_rank * p.blocks * (block.tensor.total() + (d.recompute == Recompute::kBlock ? block.tensor.forward : 0));
  p.context =
      per_rank * p.blocks * (block.context.total() + (d.recompute == Recompute::kBlock ? block.context.forward : 0));
  p.tokens_per_second = static_cast<double>(batch * shape.context) / p.step;
  const double per_token = model::flops_per_token(shape);
  p.model_flops = p.tokens_per_second * per_token / d.mesh.size();
  p.hardware_flops = p.tokens_per_second * (per_token + recomputed_flops(shape, d.recompute)) / d.mesh.size();
  return p;
}

}  // namespace banyan::plan
