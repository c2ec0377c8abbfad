#include "src/job/placement.hpp"

#include <utility>

#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/job/root_file.hpp"
#include "src/plan/placement_choice.hpp"

namespace banyan::job {
namespace {

constexpr std::string_view kPinned = "pinned:";

}  // namespace

Placement choose_placement(const Job& job, const plan::Layout& layout, const parallel::Fabric& fabric) {
  const std::string& wish = job.config.topology.placement;
  // What is left out of a job on purpose, such as the one rank that a mesh is compared with, has no order to choose.
  const bool whole = fabric.size() == job.world.size();
  Placement placement{parallel::place(layout.mesh, fabric), "the order of the ranks, as asked for"};
  if (!whole) return placement;
  if (wish == "auto") {
    plan::PlacementChoice choice = plan::choose_placement(layout, fabric, {});
    if (job.root() && choice.chosen.process_of != placement.process_of) log::info("placement: {}", choice.reason);
    placement = {std::move(choice.chosen.process_of), std::move(choice.reason)};
  } else if (wish.starts_with(kPinned)) {
    const std::string file = wish.substr(kPinned.size());
    const std::string text = read_for_all(*job.everyone, file, "topology.placement");
    placement = {plan::read_pinned(text, file, layout.mesh.size(), fabric.size()), "as " + file + " says"};
  } else if (wish != "identity") {
    throw ConfigError("topology.placement = {} is not known; use auto, identity or pinned:FILE", wish);
  }
  return placement;
}

}  // namespace banyan::job
