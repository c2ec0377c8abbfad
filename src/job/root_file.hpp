// Files that a config names and every rank needs: rank 0 reads them, so that nobody depends on who sees which disk.
#pragma once

#include <string>

#include "comm/communicator.hpp"

namespace banyan::job {

/// The text of `file`, at most 64 MiB, on all ranks, which all call it.  ConfigError naming `key` when rank 0 does not
/// find it, IoError when it cannot be read.
std::string read_for_all(comm::Communicator& everyone, const std::string& file, const char* key);

}  // namespace banyan::job
