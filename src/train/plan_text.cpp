#include "src/train/plan_text.hpp"

#include <fmt/core.h>

#include "src/job/topology.hpp"
#include "src/plan/cost.hpp"
#include "src/plan/placement_table.hpp"
#include "src/plan/report.hpp"

namespace banyan::train {

std::string plan_text(const job::Team& team, const job::Job& job, const plan::Machine& machine) {
  config::Config config = job.config;
  config.run.threads = job.threads;  // what 0 came to; the kernels' memory depends on it
  std::string s = plan::report(team.layout, config, machine);
  s += fmt::format("\nbackend {}\ntransport {}\nplacement: {}\n", job.backend->describe(), job.world.transport_name(),
                   team.placement);
  const parallel::Fabric fabric = job::fabric_of(job.world, job.network, job.world.size());
  plan::PlacementQuestion question(team.layout, fabric, job.links.value_or(comm::Links{}));
  question.computing = plan::computing_of(team.layout, machine);
  s += plan::placement_table(question, question.price(team.mesh.all(), team.placement_name));
  for (int i = 0; i < team.layout.mesh.size(); ++i) {
    const parallel::Coordinate c = team.mesh.coordinate(i);
    const int rank = team.mesh.process(c);
    s += fmt::format("  tensor {:3}  data {:3}  pipeline {:3}   rank {:4} on {}\n", c.tensor, c.data, c.pipeline, rank,
                     job.world.host(rank));
  }
  s += "\ncollectives\n" + comm::book_table(job.plans);
  return s;
}

}  // namespace banyan::train
