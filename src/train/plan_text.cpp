#include "src/train/plan_text.hpp"

#include <fmt/core.h>

#include "src/base/units.hpp"
#include "src/parallel/play.hpp"
#include "src/parallel/schedule.hpp"
#include "src/plan/memory.hpp"

namespace banyan::train {

std::string plan_text(const job::Team& team, const job::Job& job) {
  const plan::Layout& l = team.layout;
  std::string s = fmt::format("model      {} parameters, {} FLOP per token\n",
                              format_count(static_cast<double>(model::parameter_count(l.model))),
                              format_count(model::flops_per_token(l.model)));
  s += fmt::format("mesh       {} on {} ranks, {} idle\n", l.mesh.str(), l.world, l.spares());
  s += fmt::format("batch      {} sequences of {} tokens in {} microbatches\n", l.batch(), l.model.context,
                   l.microbatches);
  s += fmt::format("backend    {}\n", job.backend->describe());
  s += fmt::format("transport  {}\n\nplacement\n", job.world.transport_name());
  for (int i = 0; i < l.mesh.size(); ++i) {
    const parallel::Coordinate c = team.mesh.coordinate(i);
    const int rank = team.mesh.process(c);
    s += fmt::format("  tensor {:3}  data {:3}  pipeline {:3}   rank {:4} on {}\n", c.tensor, c.data, c.pipeline, rank,
                     job.world.host(rank));
  }
  std::vector<std::vector<parallel::Action>> schedules;
  for (int p = 0; p < l.mesh.pipeline; ++p)
    schedules.push_back(parallel::make_schedule(l.schedule_args({.pipeline = p})));
  s += "\nschedule of data rank 0\n" + parallel::draw(schedules);
  for (int p = 0; p < l.mesh.pipeline; ++p) {
    const parallel::BlockRange blocks = l.stages[static_cast<std::size_t>(p)];
    s += fmt::format("\nmemory of a rank of stage {} (blocks {} to {})\n", p, blocks.begin, blocks.end - 1);
    s += plan::memory_plan(l, job.config, {.pipeline = p}).str();
  }
  return s;
}

}  // namespace banyan::train
