// plan.txt: what the job is going to do, for people.
#pragma once

#include <string>

#include "src/job/setup.hpp"
#include "src/plan/machine.hpp"

namespace banyan::train {

/// Model, mesh, stages, schedule and memory of each stage; what other placements would
/// cost; the ranks and hosts of every coordinate.
std::string plan_text(const job::Team& team, const job::Job& job, const plan::Machine& machine);

}  // namespace banyan::train
