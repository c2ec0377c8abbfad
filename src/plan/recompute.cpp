#include "src/plan/recompute.hpp"

#include <fmt/core.h>

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
  bool splits = false;
  for (const std::string way : {"none", "cheap", "block"}) {
    if (splits && way == "block") break;  // split backward passes need what blocks keep
    c.train.recompute = choice.recompute = way;
    const Layout layout = make_layout(c, ranks, dataset_vocab);
    splits = parallel::splits_backward(layout.schedule);
    choice.needed = largest_rank(layout, c);
    if (choice.without == 0) choice.without = choice.needed;
    if (memory == 0 || choice.needed <= memory) break;
  }
  return choice;
}

}  // namespace banyan::plan
