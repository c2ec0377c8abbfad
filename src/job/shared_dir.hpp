// Whether what one rank makes in the run directory is there for the others: file systems may be local to a node, and
// shared ones may be late.
#pragma once

#include <filesystem>
#include <string>

#include "comm/communicator.hpp"

namespace banyan::job {

/// Waits until this node sees what rank 0 has just made; false after a while.
bool comes_into_view(const std::filesystem::path& path);

/// ConfigError when not every rank sees the same directory.  Collective.
void require_shared(comm::Communicator& ranks, const std::string& run_dir);

}  // namespace banyan::job
