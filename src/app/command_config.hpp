// For commands that take CONFIG and --section.key=value and run in one process.  Those that run on ranks leave reading
// the config to src/job, where rank 0 reads it for all.
#pragma once

#include "src/app/args.hpp"
#include "src/config/load.hpp"

namespace banyan::app {

/// Reads the config named by the first positional argument with the overrides of `args`.  UsageError when it is
/// missing.
config::LoadResult load_command_config(Args& args);

}  // namespace banyan::app
