#include "src/plan/recompute.hpp"

#include <fmt/core.h>

#include <vector>

#include "src/base/units.hpp"
#include "src/plan/layout.hpp"
#include "src/plan/report.hpp"

namespace banyan::plan {

std::string RecomputeChoice::str() const {
  const auto size = [](std::int64_t bytes) { return format_bytes(static_cast<double>(bytes)); };
  if (recompute == "none") return fmt::format("none: a rank needs {}", size(needed));
  return fmt::format("{}: a rank needs {}, {} without", recompute, size(needed), size(without));
}

RecomputeChoice choose_recompute(const config::Config& config, int ranks, std::int64_t dataset_vocab,
                                 std::int64_t memory) {
  config::Config c = config;
  RecomputeChoice choice;
  c.train.recompute = "none";
  std::vector<std::string> ways{"none", "cheap"};
  // Split backward passes need what blocks keep.
  if (!parallel::splits_backward(make_layout(c, ranks, dataset_vocab).schedule)) ways.emplace_back("block");
  for (const std::string& way : ways) {
    c.train.recompute = choice.recompute = way;
    choice.needed = largest_rank(make_layout(c, ranks, dataset_vocab), c);
    if (choice.without == 0) choice.without = choice.needed;
    if (memory == 0 || choice.needed <= memory) break;
  }
  return choice;
}

}  // namespace banyan::plan
