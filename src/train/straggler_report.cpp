#include "src/train/straggler_report.hpp"

#include <cstdint>
#include <optional>
#include <vector>

#include "src/base/log.hpp"

namespace banyan::train {
namespace {

std::vector<int> stages_of_ranks(const parallel::Mesh& mesh, int ranks) {
  std::vector<int> stages(static_cast<std::size_t>(ranks), -1);
  for (int r = 0; r < ranks; ++r)
    if (const int logical = mesh.logical_of_process(r); logical >= 0)
      stages[static_cast<std::size_t>(r)] = mesh.coordinate(logical).pipeline;
  return stages;
}

}  // namespace

StragglerReport::StragglerReport(const job::Job& job, const job::Team& team)
    : job_(job), stragglers_(stages_of_ranks(team.mesh, job.world.size())) {}

void StragglerReport::add(std::span<const double> work, job::Metrics& metrics) {
  if (work.empty()) return;
  const std::optional<Straggler> slow = stragglers_.judge(work);
  if (!slow) return;
  const auto rank = static_cast<int>(slow->rank);
  log::warning(
      "rank {} on {} is slow: it works {:.1f} times as long as the median of the ranks that do the same; look at its "
      "host, or leave it out of the next start",
      rank, job_.world.host(rank), slow->factor);
  metrics.push_back({"straggler", std::int64_t{rank}});
  metrics.push_back({"straggler_host", job_.world.host(rank)});
  metrics.push_back({"straggler_factor", slow->factor});
}

}  // namespace banyan::train
