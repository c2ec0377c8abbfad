#include "src/plan/report.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "src/base/units.hpp"
#include "src/parallel/play.hpp"
#include "src/plan/memory.hpp"

namespace banyan::plan {
namespace {

std::string count(double value) { return format_count(value); }

std::string model_lines(const Layout& l) {
  const model::ModelShape& m = l.model;
  std::string s = fmt::format("model     {} parameters, {}FLOP per token\n",
                              count(static_cast<double>(model::parameter_count(m))), count(model::flops_per_token(m)));
  s += fmt::format(
      "          {} blocks of width {}, {} heads ({} for keys), feed-forward {}, context {}, vocabulary {}\n", m.layers,
      m.width, m.heads, m.kv_heads, m.ffn, m.context, m.vocab);
  return s;
}

std::string mesh_lines(const Layout& l) {
  std::string s = fmt::format("mesh      {} on {} rank{}", l.mesh.str(), l.world, l.world == 1 ? "" : "s");
  if (l.spares() > 0) s += fmt::format(", {} idle", l.spares());
  if (l.zero) s += ", optimizer state spread over the data ranks";
  if (l.sequence) s += ", sequence parallelism";
  if (l.tensor_blocks > 1) s += fmt::format(", products in {} blocks of rows", l.tensor_blocks);
  if (l.gradients == DType::kBF16) s += ", gradients travel in bf16";
  if (l.recompute == model::Recompute::kBlock) s += ", blocks are computed again in the backward pass";
  if (l.recompute == model::Recompute::kCheap) s += ", norms and activations are computed again in the backward pass";
  s += fmt::format("\nbatch     {} sequences of {} tokens in {} microbatches of {}; ", l.batch(), l.model.context,
                   l.microbatches, l.sequences);
  const std::int64_t most = l.microbatches_of(0).count, least = l.microbatches_of(l.mesh.data - 1).count;
  s += most == least ? fmt::format("{} for each data rank\n", most)
                     : fmt::format("{} or {} for each data rank\n", most, least);
  return s;
}

std::string stage_lines(const Layout& l, const StepCost& cost) {
  const int width = 10 * l.chunks + 2 * (l.chunks - 1);
  std::string s = fmt::format("\nstage  {:<{}}  parameters  backward parts  forward       backward\n", "blocks", width);
  for (int p = 0; p < l.mesh.pipeline; ++p) {
    const auto i = static_cast<std::size_t>(p);
    std::string blocks;
    for (int chunk = 0; chunk < l.chunks; ++chunk) {
      const parallel::BlockRange range = l.places[static_cast<std::size_t>(l.place(p, chunk))];
      blocks += fmt::format("{}{} to {}", chunk > 0 ? ", " : "", range.begin, range.end - 1);
    }
    std::int64_t elements = 0;
    for (const model::LocalParam& param : model::local_params(l.stage_spec({.pipeline = p})))
      elements += param.count.count();
    s += fmt::format("{:>5}  {:<{}}  {:>10}  {:>14}  {:<12}  {}\n", p, blocks, width,
                     count(static_cast<double>(elements)), l.parts(p), format_seconds(cost.forward[i]),
                     format_seconds(cost.backward[i]));
  }
  return s;
}

std::string schedule_lines(const Layout& l) {
  std::vector<std::vector<parallel::Action>> schedules;
  for (int p = 0; p < l.mesh.pipeline; ++p)
    schedules.push_back(parallel::make_schedule(l.schedule_args({.pipeline = p})));
  return "\nschedule of data rank 0 (digits: forward passes, letters: backward passes, by microbatch)\n" +
         parallel::draw(schedules);
}

std::string memory_lines(const Layout& l, const config::Config& config) {
  std::string s;
  for (int p = 0; p < l.mesh.pipeline; ++p)
    s += fmt::format("\nmemory of a rank of stage {}\n", p) + memory_plan(l, config, {.pipeline = p}).str();
  return s;
}

std::string cost_lines(const StepCost& c, const Machine& machine, Precision precision) {
  std::string s = fmt::format("\nprediction for {}FLOP/s a rank, {}/s through memory and {}/s between ranks ({})\n",
                              count(machine.peak(precision)), format_bytes(machine.memory_rate),
                              format_bytes(machine.links.front().rate), machine.name);
  if (!machine.messages.empty()) s += fmt::format("  messages of GPUs: {}\n", machine.messages);
  const double between = c.pipeline > 0 ? std::min(c.bubble_share, c.waiting / c.pipeline) : 0;
  s += fmt::format("  step             {}  ({} tokens/s)\n", format_seconds(c.step), count(c.tokens_per_second));
  s += fmt::format(
      "  pipeline         {}  (bubble {:.1f} %: {:.1f} % between passes, {:.1f} % behind the last, until all ranks are "
      "done)\n",
      format_seconds(c.pipeline), 100 * c.bubble_share, 100 * between, 100 * (c.bubble_share - between));
  s += fmt::format("  tensor messages  {}  (inside the pipeline's time)\n", format_seconds(c.tensor_share));
  s += fmt::format("  gradients        {}  (what the backward pass cannot hide)\n", format_seconds(c.reduce));
  s += fmt::format("  optimizer        {}\n", format_seconds(c.update));
  return s;
}

}  // namespace

std::string report(const Layout& layout, const config::Config& config, const Machine& machine) {
  const StepCost cost = step_cost(layout, machine);
  return model_lines(layout) + mesh_lines(layout) + stage_lines(layout, cost) + schedule_lines(layout) +
         memory_lines(layout, config) + cost_lines(cost, machine, division_of(layout).precision);
}

std::int64_t largest_rank(const Layout& layout, const config::Config& config) {
  std::int64_t largest = 0;
  for (int p = 0; p < layout.mesh.pipeline; ++p)
    largest = std::max(largest, memory_plan(layout, config, {.pipeline = p}).scarcest());
  return largest;
}

}  // namespace banyan::plan
