// For commands that take CONFIG and --section.key=value.
#pragma once

#include <string>

#include "src/app/command.hpp"
#include "src/config/load.hpp"

namespace banyan::app {

/// Reads the config named by the first positional argument with the overrides of `args`.  UsageError when it is missing.
config::LoadResult load_command_config(Args& args);

}  // namespace banyan::app
