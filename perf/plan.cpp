// bench plan: how well the cost model predicts published steps.
#include <fmt/core.h>

#include <cmath>

#include "perf/commands.hpp"
#include "perf/published.hpp"

namespace banyan::perf {

int bench_plan(const std::vector<std::string>& words) {
  const Options options(words, {"--root"});
  const std::string root = options.text("--root", ".");
  for (const PublishedTable& table : published_tables()) {
    const plan::Machine machine = plan::load_machine(root + "/" + table.machine);
    fmt::print("{}, priced for {}\n", table.source, machine.name);
    fmt::print("{:<18} {:>10} {:>6} {:>9} {:>8} {:>8} {:>8} {:>10} {:>10} {:>7}\n", "row", "microbatch", "chunks",
               "step", "bubble", "tensor", "memory", "published", "predicted", "error");
    double sum = 0;
    for (const PublishedRow& row : table.rows) {
      const PublishedPrediction p = predict(row, machine);
      fmt::print("{:<18} {:>10} {:>6} {:>7.2f} s {:>6.1f} % {:>6.1f} % {:>5.1f} GB {:>8.0f} T {:>8.1f} T {:>+5.1f} %\n",
                 row.name, p.division.microbatch, p.division.virtual_stages, p.price.step, 100 * p.price.bubble_share,
                 100 * p.price.tensor / p.price.step, p.memory.total() / 1e9, row.published / 1e12, p.predicted / 1e12,
                 100 * p.error);
      sum += std::abs(p.error);
    }
    fmt::print("mean error {:.1f} %\n\n", 100 * sum / static_cast<double>(table.rows.size()));
  }
  return 0;
}

}  // namespace banyan::perf
