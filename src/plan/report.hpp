// A layout as text for people: mesh, stages, schedule, memory, prediction.  Printed by `banyan plan`, written to
// plan.txt.
#pragma once

#include <cstdint>
#include <string>

#include "src/config/config.hpp"
#include "src/plan/cost.hpp"
#include "src/plan/layout.hpp"

namespace banyan::plan {

std::string report(const Layout& layout, const config::Config& config, const Machine& machine);

/// The largest memory plan of all stages.
std::int64_t largest_rank(const Layout& layout, const config::Config& config);

}  // namespace banyan::plan
