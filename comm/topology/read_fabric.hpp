// Reads a fabric from a file of any format that is known.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "comm/topology/fabric.hpp"

namespace banyan::comm {

/// "auto", "fabric" (comm/topology/fabric_file.hpp), "slurm" (comm/topology/slurm_topology.hpp), "yaml"
/// (comm/topology/slurm_yaml.hpp), "ib" (comm/topology/infiniband.hpp).
const std::vector<std::string>& fabric_formats();

/// `text` is what `file` holds; auto looks at its first words; yaml:NAME takes the topology of that name.  `faults` is
/// what ibqueryerrors printed into `faults_file`, empty: nobody asked it; for "ib" only. UsageError for a format that
/// is not known, DataError for a text that is not of the format.
Fabric read_fabric(std::string_view text, const std::string& file, const std::string& format = "auto",
                   std::string_view faults = {}, const std::string& faults_file = {});

/// The whole of a file, "-" the standard input.  IoError when it cannot be read, DataError beyond 256 MiB.
std::string read_fabric_text(const std::string& file);

}  // namespace banyan::comm
