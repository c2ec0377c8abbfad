#include "src/plan/search.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <tuple>

#include "src/base/error.hpp"
#include "src/base/units.hpp"
#include "src/plan/report.hpp"

namespace banyan::plan {
namespace {

/// Of two predictions closer than this share neither is faster.
constexpr double kNoDifference = 1e-9;

bool faster(const Division& a, const Division& b) {
  const double margin = kNoDifference * std::max(a.cost.step, b.cost.step);
  if (a.cost.step < b.cost.step - margin) return true;
  if (b.cost.step < a.cost.step - margin) return false;
  const auto size = [](const Division& d) {
    return std::tuple(d.memory, d.mesh.tensor, d.mesh.pipeline, d.microbatch);
  };
  return size(a) < size(b);
}

}  // namespace

SearchResult search_divisions(const config::Config& config, int ranks, std::int64_t dataset_vocab,
                              const Machine& machine, std::int64_t memory) {
  make_model_shape(config, dataset_vocab);  // what is wrong whatever the division is said as it is
  SearchResult result;
  for (int tensor = 1; tensor <= ranks; ++tensor) {
    if (ranks % tensor != 0) continue;
    for (int pipeline = 1; pipeline <= ranks / tensor; ++pipeline) {
      if (ranks / tensor % pipeline != 0) continue;
      for (std::int64_t microbatch = 1; config.train.batch % microbatch == 0; microbatch *= 2) {
        config::Config candidate = config;
        candidate.parallel.tensor = tensor;
        candidate.parallel.pipeline = pipeline;
        candidate.parallel.data = ranks / tensor / pipeline;
        candidate.parallel.microbatch = microbatch;
        candidate.parallel.stages = "auto";
        try {
          const Layout layout = make_layout(candidate, ranks, dataset_vocab);
          Division d{layout.mesh, microbatch, largest_rank(layout, candidate), {}};
          if (memory > 0 && d.memory > memory) {
            ++result.too_large;
            continue;
          }
          d.cost = step_cost(layout, machine);
          result.divisions.push_back(std::move(d));
        } catch (const ConfigError&) {
          continue;  // heads, layers or batch cannot be divided so
        }
      }
    }
  }
  std::sort(result.divisions.begin(), result.divisions.end(), faster);
  return result;
}

std::string division_table(const SearchResult& result, std::size_t count) {
  std::string s = "  step        tokens/s  bubble    memory  options\n";
  for (std::size_t i = 0; i < std::min(count, result.divisions.size()); ++i) {
    const Division& d = result.divisions[i];
    s += fmt::format(
        "  {:<10}  {:>8}  {:>4.1f} %  {:>8}  --parallel.tensor={} --parallel.pipeline={} --parallel.data={} "
        "--parallel.microbatch={}\n",
        format_seconds(d.cost.step), format_count(d.cost.tokens_per_second), 100 * d.cost.bubble_share,
        format_bytes(static_cast<double>(d.memory)), d.mesh.tensor, d.mesh.pipeline, d.mesh.data, d.microbatch);
  }
  if (result.divisions.size() > count) s += fmt::format("  and {} slower ones\n", result.divisions.size() - count);
  if (result.too_large > 0) s += fmt::format("  {} others do not fit into memory\n", result.too_large);
  return s;
}

}  // namespace banyan::plan
