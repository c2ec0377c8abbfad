#include "src/plan/memory.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "src/base/units.hpp"
#include "src/model/activation_plan.hpp"
#include "src/model/local_params.hpp"

namespace banyan::plan {
namespace {

constexpr std::int64_t kFloat = 4;

/// Elements of the optimizer state a rank keeps.
std::int64_t optimizer_elements(const Layout& layout, const std::vector<model::LocalParam>& params,
                                const parallel::Coordinate& c) {
  if (!layout.zero || layout.mesh.data == 1) return model::arena_count(params);
  std::int64_t elements = 0;
  for (const model::LocalParam& p : params) {
    const std::int64_t rows = p.count.rank() == 0 ? 0 : p.count[0];
    const std::int64_t begin = rows * c.data / layout.mesh.data, end = rows * (c.data + 1) / layout.mesh.data;
    elements += (end - begin) * p.count.row_count();
  }
  return elements;
}

}  // namespace

std::int64_t MemoryPlan::total() const {
  std::int64_t sum = 0;
  for (const MemoryRow& row : rows) sum += row.bytes;
  return sum;
}

std::string MemoryPlan::str() const {
  std::size_t width = 5;
  for (const MemoryRow& row : rows) width = std::max(width, row.name.size());
  std::string text;
  for (const MemoryRow& row : rows)
    text +=
        fmt::format("  {:<{}}  {:>10}  {}\n", row.name, width, format_bytes(static_cast<double>(row.bytes)), row.how);
  return text + fmt::format("  {:<{}}  {:>10}\n", "total", width, format_bytes(static_cast<double>(total())));
}

MemoryPlan memory_plan(const Layout& layout, const config::Config& config, const parallel::Coordinate& c) {
  (void)config;
  MemoryPlan plan;
  const auto add = [&](std::string name, std::int64_t bytes, std::string how) {
    if (bytes > 0) plan.rows.push_back({std::move(name), bytes, std::move(how)});
  };
  const model::StageSpec spec = layout.stage_spec(c);
  const std::vector<model::LocalParam> params = model::local_params(spec);
  const std::int64_t count = model::arena_count(params);
  add("parameters", count * kFloat, fmt::format("{} x {} B", count, kFloat));
  if (spec.gradients) add("gradients", count * kFloat, fmt::format("{} x {} B", count, kFloat));
  if (layout.use == Use::kTrain) {
    const std::int64_t mine = optimizer_elements(layout, params, c);
    add("optimizer", 2 * mine * kFloat, fmt::format("2 moments x {} x {} B", mine, kFloat));
  }
  if (spec.slots > 0) {
    const model::ActivationPlan activations = model::activation_plan(spec);
    const auto slot = static_cast<std::int64_t>(activations.slot_bytes) + 12 * spec.rows();
    add("activations", spec.slots * slot,
        fmt::format("{} microbatch{} in flight x {}", spec.slots, spec.slots == 1 ? "" : "es",
                    format_bytes(static_cast<double>(slot))));
    add("scratch", static_cast<std::int64_t>(activations.scratch_bytes), "of one block and the head");
  }
  return plan;
}

}  // namespace banyan::plan
