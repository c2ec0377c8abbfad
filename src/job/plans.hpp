// The plans of collectives over the life of a run: chosen at its first start, recorded in plans.json and in every
// checkpoint, taken up again by later starts.
//
//   Job::assemble   gives all groups plans that depend on configuration and places only
//   settle_plans    (training, after the resume) replaces them by the recorded ones, or measures and chooses
#pragma once

#include <string>

#include "src/base/section.hpp"
#include "src/job/setup.hpp"

namespace banyan::job {

/// How long nobody may hear of a rank while it reads, reckons or chooses for the others.
inline constexpr Seconds kRootPatience{300};

/// Plans from the configuration, the places of the ranks and job.usual_links.  Called by all ranks, spares included
/// (`team` is null there); `mesh` is the one of the team.
void use_default_plans(Job& job, const parallel::Mesh& mesh, bool tied, Team* team);

/// What the links between the ranks are worth: as the plans that comm.plans names have them or those of the last attempt,
/// so that a run reckons with the same ones whenever it starts, or else measured.  Called by all ranks while nothing is
/// in flight; the same on all, and the same again when asked again.
const comm::Links& links_of(Job& job);

/// What comm.plans asks for.  `recorded` counts on rank 0: the plans of the checkpoint that is continued, or empty.
/// ConfigError when the plans of a file do not fit, DataError when plans.json is damaged.  Called by all ranks while
/// nothing is in flight; afterwards job.plans holds the book and write_plans may be called.
void settle_plans(Job& job, Team* team, const std::string& recorded);

/// Writes plans.json, `plan` (the plan as people read it) as plan.txt and where ranks sit as hostfile
/// (src/plan/placement_table.hpp).  For rank 0 to call.
void write_plans(const Job& job, const parallel::Mesh& mesh, const std::string& plan);

}  // namespace banyan::job
