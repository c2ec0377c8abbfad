// What `banyan topo` says of a job that is planned on a network: its layout, its placement, the load of every way.
#pragma once

#include <optional>
#include <string>

#include "comm/topology/fabric.hpp"
#include "src/config/config.hpp"
#include "src/job/setup.hpp"
#include "src/plan/step_on_network.hpp"

namespace banyan::app {

struct PlannedStep {
  plan::StepOnNetwork step;
  parallel::MeshShape mesh;
};

/// Of `config` on all hosts of the network in its order, `per_node` ranks on each, placed as topology.placement says.
/// ConfigError as plan::make_layout, and for a pinned placement that does not fit.
PlannedStep planned_step(const comm::Fabric& network, const config::Config& config, int per_node);

/// Of a job's own config on its ranks and job.network, which is there; nothing where these ranks cannot train it, with
/// `why`.  Called by all ranks; the same on all.
std::optional<PlannedStep> planned_step(job::Job& job, std::string& why);

}  // namespace banyan::app
