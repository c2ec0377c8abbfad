#include "src/job/placement.hpp"

#include <filesystem>
#include <utility>

#include "comm/topology/read_fabric.hpp"
#include "io/atomic_file.hpp"
#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/plan/placement_choice.hpp"

namespace banyan::job {
namespace {

constexpr std::size_t kLargestFile = 64 << 20;
constexpr std::string_view kPinned = "pinned:";

/// Rank 0 reads, all get it.
std::string read_for_all(comm::Communicator& everyone, const std::string& file, const char* key) {
  std::string text;
  if (everyone.rank() == 0) {
    std::error_code error;
    if (!std::filesystem::exists(file, error)) throw ConfigError("{} = {}: there is no such file", key, file);
    text = io::read_limited(file, kLargestFile);
  }
  return comm::broadcast_string(everyone, text, 0, file + " from rank 0");
}

}  // namespace

void learn_topology(comm::World& world, comm::Communicator& everyone, const config::Config& config) {
  const std::string& source = config.topology.source;
  if (source == "auto") return;
  std::vector<int> leaves(static_cast<std::size_t>(world.size()), 0);
  if (source != "flat") {
    const comm::Fabric fabric = comm::read_fabric(read_for_all(everyone, source, "topology.source"), source);
    std::vector<std::string> hosts;
    for (int r = 0; r < world.size(); ++r) hosts.push_back(world.host(r));
    const comm::GroupTree tree = comm::tree_of(fabric, hosts);
    if (tree.levels.size() > 1) leaves = tree.levels[1];
    if (world.rank() == 0)
      for (const std::string& note : fabric.notes) log::warning("{}: {}", source, note);
  }
  world.set_leaves(leaves);
}

Placement choose_placement(const Job& job, const plan::Layout& layout, const parallel::Fabric& fabric) {
  const std::string& wish = job.config.topology.placement;
  // What is left out of a job on purpose, such as the one rank that a mesh is compared with, has no order to choose.
  const bool whole = fabric.size() == job.world.size();
  std::vector<int> given = parallel::place(layout.mesh, fabric);
  if (wish == "auto" && whole) {
    plan::PlacementChoice choice = plan::choose_placement(layout, fabric, {});
    if (job.root() && choice.chosen.process_of != given) log::info("placement: {}", choice.reason);
    return {std::move(choice.chosen.process_of), std::move(choice.reason)};
  }
  if (wish == "identity" || !whole) return {std::move(given), "the order of the ranks, as asked for"};
  if (!wish.starts_with(kPinned))
    throw ConfigError("topology.placement = {} is not known; use auto, identity or pinned:FILE", wish);
  const std::string file = wish.substr(kPinned.size());
  const std::string text = read_for_all(*job.everyone, file, "topology.placement");
  return {plan::read_pinned(text, file, layout.mesh.size(), fabric.size()), "as " + file + " says"};
}

}  // namespace banyan::job
