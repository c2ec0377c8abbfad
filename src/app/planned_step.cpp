#include "src/app/planned_step.hpp"

#include <filesystem>

#include "comm/topology/contact.hpp"
#include "io/atomic_file.hpp"
#include "src/app/dataset_vocab.hpp"
#include "src/base/error.hpp"
#include "src/job/placement.hpp"
#include "src/job/topology.hpp"
#include "src/plan/fallback.hpp"
#include "src/plan/placement_choice.hpp"

namespace banyan::app {
namespace {

constexpr std::size_t kLargestPinned = 64 << 20;

PlannedStep load(const plan::PlacementQuestion& question, const comm::Fabric& network,
                 const std::vector<std::string>& hosts, const plan::PlacementPrice& price) {
  return {plan::load_network(question, network, hosts, price), question.mesh};
}

}  // namespace

PlannedStep planned_step(const comm::Fabric& network, const config::Config& config, int per_node) {
  std::vector<std::string> hosts;
  for (const std::string& host : network.hosts) hosts.insert(hosts.end(), static_cast<std::size_t>(per_node), host);
  const auto ranks = static_cast<int>(hosts.size());
  const plan::Layout layout = plan::make_layout(plan::fit_mesh(config, ranks).config, ranks, dataset_vocab(config));
  const parallel::Fabric fabric = plan::fabric_on(network, hosts);
  const plan::PlacementQuestion question(layout, fabric, {});
  const std::optional<std::string> pinned = plan::pinned_file(config.topology.placement);
  if (!pinned && config.topology.placement == "auto")
    return load(question, network, hosts, plan::choose_placement(question).chosen);
  if (!pinned)
    return load(question, network, hosts, question.price(parallel::place(layout.mesh, fabric), "ranks as given"));
  std::error_code error;
  if (!std::filesystem::exists(*pinned, error))
    throw ConfigError("topology.placement = pinned:{}: there is no such file", *pinned);
  return load(
      question, network, hosts,
      question.price(plan::read_pinned(io::read_limited(*pinned, kLargestPinned), *pinned, layout.mesh.size(), ranks),
                     "as " + *pinned + " says"));
}

std::optional<PlannedStep> planned_step(job::Job& job, std::string& why) {
  // Rank 0 looks for the dataset; what it finds holds for all.
  std::int64_t vocab = 0;
  std::string error;
  if (job.root()) try {
      vocab = dataset_vocab(job.config);
    } catch (const Error& e) {
      error = e.what();
    }
  why = comm::broadcast_string(*job.everyone, error, 0, "what rank 0 found of the dataset");
  if (!why.empty()) return std::nullopt;
  vocab = comm::all_reduce_value(*job.everyone, vocab, comm::ReduceOp::kMax, "the dataset's vocabulary");
  std::optional<plan::Layout> layout;
  try {
    layout = plan::make_layout(job.config, job.world.size(), vocab);
  } catch (const ConfigError& e) {
    why = e.what();
    return std::nullopt;
  }
  const parallel::Fabric fabric = job::fabric_of(job.world, job.network, job.world.size());
  job::Placement placement = job::choose_placement(job, *layout, fabric);
  plan::PlacementQuestion question(*layout, fabric, placement.links);
  question.computing = std::move(placement.computing);
  return load(question, *job.network, comm::hosts_of(job.world),
              question.price(std::move(placement.process_of), placement.name));
}

}  // namespace banyan::app
