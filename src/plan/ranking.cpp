#include "src/plan/ranking.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "src/base/json.hpp"
#include "src/base/units.hpp"

namespace banyan::plan {
namespace {

/// Of a rank, or its share of the cores it takes turns on.
double peak_of(const SearchResult& r, const Division& d) {
  return rank_speed(r.machine, d.precision, r.ranks).flops / core_turns(r.machine, r.ranks);
}

std::string_view name_of(Recompute r) {
  switch (r) {
    case Recompute::kNone:
      return "none";
    case Recompute::kCheap:
      return "cheap";
    case Recompute::kAttention:
      return "attention";
    case Recompute::kBlock:
      return "block";
  }
  return "?";
}

std::string choice(const Division& d) {
  const std::string lacks = not_runnable(d);
  if (lacks.empty()) return options_of(d);
  std::string s =
      fmt::format("not runnable ({}): tensor {} context {} pipeline {} x {} ({}) data {} microbatch {} zero {}", lacks,
                  d.mesh.tensor, d.mesh.context, d.mesh.pipeline, d.virtual_stages, plan::name_of(d.schedule),
                  d.mesh.data, d.microbatch, d.zero);
  if (d.sequence) s += " sequence";
  if (d.recompute != Recompute::kNone) s += fmt::format(" recompute {}", name_of(d.recompute));
  return s;
}

/// Seconds on the wires by axis.
struct Axes {
  double tensor, context, pipeline, data;
};
Axes axes_of(const StepPrice& p) { return {p.tensor, p.context, p.messages, p.gradients + p.gathering}; }

struct Term {
  const char* name;
  std::string formula, numbers;
  double seconds;
};

std::vector<Term> terms(const SearchResult& r, const Division& d, const StepPrice& p) {
  const auto sec = [](double s) { return format_seconds(s); };
  const double m = p.microbatches;
  const BlockPrice& b = p.block;
  std::vector<Term> list;
  list.push_back({"block, forward", "products + attention + streams + tensor + context",
                  fmt::format("{} + {} + {} + {} + {}", sec(b.products.forward), sec(b.attention.forward),
                              sec(b.streams.forward), sec(b.tensor.forward), sec(b.context.forward)),
                  b.forward()});
  list.push_back(
      {"block, backward", "products + attention + streams + tensor + context + again",
       fmt::format("{} + {} + {} + {} + {} + {}", sec(b.products.backward), sec(b.attention.backward),
                   sec(b.streams.backward), sec(b.tensor.backward), sec(b.context.backward), sec(b.again.backward)),
       b.backward()});
  list.push_back({"head", "3 products + 4 passes over the logits + tensor",
                  fmt::format("{} + {} + {}", sec(p.head.products.forward), sec(p.head.streams.forward),
                              sec(p.head.tensor.forward)),
                  p.head.forward()});
  list.push_back({"dearest stage", "blocks x block, with embedding or head at the ends",
                  fmt::format("{} blocks x {}", p.blocks, sec(b.forward() + b.backward())), p.stage});
  list.push_back({"= steady", "microbatches x dearest stage", fmt::format("{} x {}", m, sec(p.stage)), p.steady});
  list.push_back(
      {"= fill", "(all stages - dearest stage) x what the schedule leaves of them",
       fmt::format("({} - {}) x {:.3f} ({})", sec(p.stages), sec(p.stage), p.fill_share, plan::name_of(d.schedule)),
       p.fill});
  list.push_back({"= messages", "message x (those of the first microbatch + (1 - hidden) 2 chunks (microbatches - 1))",
                  fmt::format("{} x ({} + {} x 2 x {} x {})", sec(p.message), p.first_messages,
                              1 - r.machine.hide_pipeline, d.virtual_stages, m - 1),
                  p.messages});
  list.push_back({"= gradients", "max(reduction - hidden x blocks x backward, reduction / blocks)",
                  fmt::format("max({} - {} x {} x {}, {} / {})", sec(p.reduction), r.machine.hide_gradients, p.blocks,
                              sec(b.backward()), sec(p.reduction), p.blocks),
                  p.gradients});
  list.push_back({"= parameters", "gather of ZeRO that is not hidden",
                  fmt::format("{}, hidden {}", sec(p.gather), r.machine.hide_parameters), p.gathering});
  list.push_back({"= optimizer", "bytes of parameters, gradients and moments / memory rate",
                  fmt::format("{} parameters{}", format_count(p.parameters),
                              d.zero > 0 && d.mesh.data > 1 ? fmt::format(" / {} data ranks", d.mesh.data) : ""),
                  p.update});
  list.push_back({"= crowding", "work of all ranks on the cores they share, beyond the above",
                  fmt::format("{:.3g} ranks a core", core_turns(r.machine, r.ranks)), p.crowding});
  list.push_back({"step", "sum of the lines with =", "", p.step});
  return list;
}

}  // namespace

std::string ranking_table(const SearchResult& r, std::size_t count) {
  std::string s = fmt::format(
      "{} layouts of {} ranks priced for {} ({})\n{}"
      "  step        tokens/s   MFU   HFU  bubble    memory   tensor  context  pipeline  data     to finish  options\n",
      r.priced, r.ranks, r.machine.name, r.machine.source.empty() ? "given" : r.machine.source,
      r.machine.messages.empty() ? "" : fmt::format("  messages of GPUs: {}\n", r.machine.messages));
  std::size_t shown = 0;
  bool runnable = false, above = false;
  for (const Candidate& c : r.candidates) {
    const bool first_that_runs = c.runnable && !runnable;
    if (shown >= count && !first_that_runs) continue;
    ++shown;
    runnable = runnable || c.runnable;
    const StepPrice p = price_of(r, c);
    const double peak = peak_of(r, c.division);
    const Axes axes = axes_of(p);
    above = above || p.model_flops > peak;
    s += fmt::format(
        "  {:<10}  {:>8}  {:>4.1f}  {:>4.1f}  {:>4.1f} %  {:>8}  {:>5.1f} %  {:>5.1f} %  {:>6.1f} %  {:>4.1f} %  "
        "{:>10}  {}\n",
        format_seconds(p.step), format_count(p.tokens_per_second), 100 * p.model_flops / peak,
        100 * p.hardware_flops / peak, 100 * p.bubble_share, format_bytes(c.memory), 100 * axes.tensor / p.step,
        100 * axes.context / p.step, 100 * axes.pipeline / p.step, 100 * axes.data / p.step,
        format_seconds(p.step * static_cast<double>(r.steps)), choice(c.division));
  }
  if (above)
    s +=
        "  MFU above 100 %: it counts attention over the whole context, as published figures do, but the half that the "
        "mask\n  leaves out is not computed here, and the peak is the rate that was given or measured for matrix "
        "products\n";
  if (r.candidates.size() > shown) s += fmt::format("  and {} slower meshes\n", r.candidates.size() - shown);
  if (r.too_large > 0) s += fmt::format("  {} others do not fit into memory\n", r.too_large);
  if (r.rejections.empty()) return s;
  // Reasons that are alike but for their numbers are told once, with the first as the example.
  std::vector<std::pair<std::string, std::vector<const Rejection*>>> kinds;
  for (const Rejection& x : r.rejections) {
    std::string kind = x.reason;
    std::erase_if(kind, [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
    const auto at = std::find_if(kinds.begin(), kinds.end(), [&](const auto& k) { return k.first == kind; });
    if (at == kinds.end())
      kinds.push_back({kind, {&x}});
    else
      at->second.push_back(&x);
  }
  s += "rejected (--json lists every one)\n";
  for (const auto& [kind, list] : kinds) {
    const parallel::MeshShape& m = list.front()->mesh;
    s += fmt::format("  {:>5} x  tensor {} context {} pipeline {} data {}: {}\n", list.size(), m.tensor,
                     m.context ? std::to_string(m.context) : "any", m.pipeline ? std::to_string(m.pipeline) : "any",
                     m.data ? std::to_string(m.data) : "any", list.front()->reason);
  }
  return s;
}

std::string explain(const SearchResult& r, const Candidate& c) {
  const StepPrice p = price_of(r, c);
  std::string s = fmt::format("{}\n", choice(c.division));
  for (const Term& t : terms(r, c.division, p))
    s += fmt::format("  {:<16} {:>10}  {}{}{}\n", t.name, format_seconds(t.seconds), t.formula,
                     t.numbers.empty() ? "" : " = ", t.numbers);
  const RankMemory m = rank_memory(r.model, c.division, p.blocks, p.parameters, p.microbatches, r.machine);
  s += fmt::format(
      "  memory           {:>10}  parameters {} + gradients {} + optimizer {} + activations {} ({} blocks in flight) + "
      "buffers {}\n",
      format_bytes(m.total()), format_bytes(m.parameters), format_bytes(m.gradients), format_bytes(m.optimizer),
      format_bytes(m.activations), m.blocks_in_flight, format_bytes(m.buffers));
  return s;
}

std::string ranking_json(const SearchResult& r) {
  Json list = Json::array(), out = Json::array();
  for (const Candidate& c : r.candidates) {
    const Division& d = c.division;
    const StepPrice p = price_of(r, c);
    const Axes axes = axes_of(p);
    const RankMemory m = rank_memory(r.model, d, p.blocks, p.parameters, p.microbatches, r.machine);
    Json terms_of = Json::object();
    for (const Term& t : terms(r, d, p)) terms_of[t.name] = {{"seconds", t.seconds}, {"formula", t.formula}};
    list.push_back(
        {{"runnable", c.runnable},
         {"not_runnable", not_runnable(d)},
         {"tensor", d.mesh.tensor},
         {"context", d.mesh.context},
         {"pipeline", d.mesh.pipeline},
         {"data", d.mesh.data},
         {"microbatch", d.microbatch},
         {"schedule", plan::name_of(d.schedule)},
         {"virtual_stages", d.virtual_stages},
         {"zero", d.zero},
         {"sequence", d.sequence},
         {"recompute", name_of(d.recompute)},
         {"data_outermost", d.data_outermost},
         {"step_seconds", p.step},
         {"tokens_per_second", p.tokens_per_second},
         {"mfu", p.model_flops / peak_of(r, d)},
         {"hfu", p.hardware_flops / peak_of(r, d)},
         {"bubble_share", p.bubble_share},
         {"finish_seconds", p.step * static_cast<double>(r.steps)},
         {"communication_seconds",
          {{"tensor", axes.tensor}, {"context", axes.context}, {"pipeline", axes.pipeline}, {"data", axes.data}}},
         {"memory_bytes",
          {{"parameters", m.parameters},
           {"gradients", m.gradients},
           {"optimizer", m.optimizer},
           {"activations", m.activations},
           {"buffers", m.buffers},
           {"total", m.total()}}},
         {"terms", terms_of}});
  }
  for (const Rejection& x : r.rejections)
    out.push_back({{"tensor", x.mesh.tensor},
                   {"context", x.mesh.context},
                   {"pipeline", x.mesh.pipeline},
                   {"data", x.mesh.data},
                   {"reason", x.reason}});
  return dump_line(Json{{"machine", r.machine.name},
                        {"device_messages", r.machine.messages},
                        {"ranks", r.ranks},
                        {"batch", r.batch},
                        {"parameters", model::parameter_count(r.model)},
                        {"priced", r.priced},
                        {"too_large", r.too_large},
                        {"layouts", list},
                        {"rejected", out}});
}

}  // namespace banyan::plan
