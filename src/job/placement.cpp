#include "src/job/placement.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <sstream>
#include <utility>

#include "comm/topology/contact.hpp"
#include "io/atomic_file.hpp"
#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/job/plans.hpp"
#include "src/job/rates.hpp"
#include "src/job/root_file.hpp"
#include "src/plan/cost.hpp"
#include "src/plan/placement_choice.hpp"
#include "src/plan/placement_table.hpp"

namespace banyan::job {
namespace {

constexpr std::size_t kLargestHostFile = 16 << 20;

/// Which node held each logical rank when this run directory was last used.
std::vector<int> nodes_before(const Job& job, const plan::Layout& layout, const parallel::Fabric& fabric) {
  if (layout.use != plan::Use::kTrain) return {};
  const std::filesystem::path file = job.run_dir / kHostFile;
  std::string text;
  std::error_code error;
  // A hint only: a file that is not there or cannot be read says nothing.
  if (job.root() && std::filesystem::is_regular_file(file, error)) try {
      text = io::read_limited(file, kLargestHostFile);
    } catch (const Error& e) {
      log::warning("{}", e.what());
    }
  text = comm::broadcast_string(*job.everyone, text, 0, "the hosts of the last attempt from rank 0");
  return plan::nodes_of_hosts(text, layout.mesh.size(), comm::hosts_of(job.world), fabric);
}

/// What rank 0 knows of computing, on all ranks.
std::vector<plan::Pass> computing(Job& job, const plan::Layout& layout) {
  std::string text;
  if (job.root())
    for (const plan::Pass& p : plan::computing_of(layout, machine_of(job, layout)))
      text += fmt::format("{} {} ", p.forward, p.backward);
  const comm::PatienceScope patience(kRootPatience);
  std::istringstream words(
      comm::broadcast_string(*job.everyone, text, 0, "the seconds that stages compute from rank 0"));
  std::vector<plan::Pass> passes(static_cast<std::size_t>(layout.mesh.pipeline));
  for (plan::Pass& p : passes) words >> p.forward >> p.backward;
  if (!words) throw BugError("rank 0 told no seconds of {} stages", passes.size());
  return passes;
}

/// Every rank refines with a seed of its own; the best of all counts, of equals that of the lowest rank.
void refine_together(const Job& job, const plan::PlacementQuestion& question, std::vector<plan::PlacementPrice>& all) {
  if (!plan::worth_refining(question, all)) return;
  const int rank = job.world.rank();
  const plan::PlacementPrice mine =
      plan::refine(question, plan::start_of_refining(question, all), {.seed = static_cast<std::uint64_t>(rank)});
  const comm::PatienceScope patience(kRootPatience);
  const auto least = [&](auto value) {
    return comm::all_reduce_value(*job.everyone, value, comm::ReduceOp::kMin, "all ranks to refine the placement");
  };
  constexpr std::int64_t kOut = std::int64_t{1} << 40;
  const double seconds = least(mine.seconds());
  const std::int64_t moved = least(mine.seconds() <= seconds ? std::int64_t{mine.moved} : kOut);
  const bool best = mine.seconds() <= seconds && mine.moved == moved;
  const auto winner = static_cast<int>(least(best ? std::int64_t{rank} : kOut));
  const std::string from = fmt::format("rank {}", winner);
  const std::string order = comm::broadcast_string(*job.everyone, fmt::format("{}", fmt::join(mine.process_of, " ")),
                                                   winner, "the refined placement from " + from);
  const std::string name = comm::broadcast_string(*job.everyone, mine.name, winner, "its name from " + from);
  all.push_back(question.price(plan::read_pinned(order, from, question.mesh.size(), job.world.size()), name));
}

}  // namespace

Placement choose_placement(Job& job, const plan::Layout& layout, const parallel::Fabric& fabric) {
  const std::string& wish = job.config.topology.placement;
  const std::optional<std::string> file = plan::pinned_file(wish);
  // What is left out of a job on purpose, such as the one rank that a mesh is compared with, has no order to choose.
  const bool whole = fabric.size() == job.world.size();
  Placement placement{.process_of = parallel::place(layout.mesh, fabric),
                      .reason = "the order of the ranks, as asked for"};
  if (!whole) return placement;
  if (file) {
    const std::string text = read_for_all(*job.everyone, *file, "topology.placement");
    placement.process_of = plan::read_pinned(text, *file, layout.mesh.size(), fabric.size());
    placement.reason = "as " + *file + " says";
  } else if (wish == "auto") {
    const bool several =
        std::any_of(fabric.places.begin(), fabric.places.end(), [](const auto& p) { return p.node > 0; });
    if (several && layout.use == plan::Use::kTrain) {
      placement.links = links_of(job);
      placement.computing = computing(job, layout);
    }
    plan::PlacementQuestion question(layout, fabric, placement.links);
    question.computing = placement.computing;
    question.before = nodes_before(job, layout, fabric);
    std::vector<plan::PlacementPrice> all = plan::placements(question);
    refine_together(job, question, all);
    plan::PlacementChoice choice = plan::choose(all);
    if (job.root() && choice.chosen.process_of != placement.process_of) log::info("placement: {}", choice.reason);
    placement.process_of = std::move(choice.chosen.process_of);
    placement.reason = std::move(choice.reason);
    placement.name = std::move(choice.chosen.name);
  }
  return placement;
}

}  // namespace banyan::job
