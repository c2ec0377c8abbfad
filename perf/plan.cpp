// bench plan: how well the cost model predicts published steps, and how long planning for many ranks takes.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "perf/commands.hpp"
#include "perf/published.hpp"
#include "src/base/rng.hpp"
#include "src/base/section.hpp"
#include "src/config/load.hpp"
#include "src/plan/placement_choice.hpp"
#include "src/plan/search.hpp"

namespace banyan::perf {
namespace {

/// Nodes of eight ranks, dealt at random to so many leaves below so many switches: what a busy cluster allocates.
parallel::Fabric ragged(int ranks, int leaves, int switches) {
  parallel::Fabric fabric;
  for (int r = 0; r < ranks; ++r) {
    const int node = r / 8;
    const auto leaf =
        node < leaves
            ? node
            : static_cast<int>(rng::mix(7, static_cast<std::uint64_t>(node)) % static_cast<std::uint64_t>(leaves));
    fabric.places.push_back({node, r % 8, leaf});
  }
  fabric.tiers.push_back({});
  for (int l = 0; l < leaves; ++l) fabric.tiers.back().of_leaf.push_back(l * switches / leaves);
  return fabric;
}

double since(Clock::time_point start) { return Seconds(Clock::now() - start).count(); }

/// A ranking of all layouts, and the placement of one on a ragged allocation.
void time_plans(const std::string& root, int ranks) {
  const std::vector<std::string> shape{"--model.layers=48",
                                       "--model.width=4096",
                                       "--model.heads=32",
                                       "--model.vocab=50257",
                                       "--parallel.tensor=8",
                                       "--parallel.pipeline=16",
                                       fmt::format("--train.batch={}", ranks)};
  const config::Config config = config::load("", shape).config;
  const plan::Machine machine = plan::load_machine(root + "/configs/machines/h100-roce.ini");
  Clock::time_point start = Clock::now();
  const plan::SearchResult found = plan::search_divisions(config, ranks, 0, machine);
  fmt::print("{} ranks: {} layouts priced in {:.2f} s\n", ranks, found.priced, since(start));

  const plan::Layout layout = plan::make_layout(config, ranks, 0);
  const parallel::Fabric fabric = ragged(ranks, 100, 10);
  start = Clock::now();
  const plan::PlacementQuestion question(layout, fabric, {});
  const std::vector<plan::PlacementPrice> all = plan::placements(question);
  const double listed = since(start);
  const plan::PlacementPrice& from = plan::start_of_refining(question, all);
  const plan::PlacementPrice refined = plan::refine(question, from);
  fmt::print(
      "  placement of {} on a ragged allocation of {} nodes below 100 leaves: {} candidates in {:.2f} s, swaps {:.2f} "
      "s\n",
      layout.mesh.str(), ranks / 8, all.size(), listed, since(start) - listed);
  fmt::print("  messages of a step: ranks as given {:.3g} s, best candidate {:.3g} s, after swaps {:.3g} s ({})\n",
             all[0].seconds(), from.seconds(), refined.seconds(), refined.name);
}

}  // namespace

int bench_plan(const std::vector<std::string>& words) {
  const Options options(words, {"--root", "--ranks"});
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
  time_plans(root, static_cast<int>(options.number("--ranks", 16384)));
  return 0;
}

}  // namespace banyan::perf
