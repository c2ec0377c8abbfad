// Reads a fabric from a file of any format that is known.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "comm/topology/fabric.hpp"
#include "comm/topology/fabric_builder.hpp"

namespace banyan::comm {

/// "auto", "fabric" (comm/topology/fabric_file.hpp), "slurm" (comm/topology/slurm_topology.hpp), "yaml"
/// (comm/topology/slurm_yaml.hpp), "ib" (comm/topology/infiniband.hpp).
const std::vector<std::string>& fabric_formats();

/// What other programs tell of the cables that ibnetdiscover found; a file that nobody named says nothing.
struct IbExtras {
  std::string_view faults = {}, routes = {};
  std::string faults_file = {};  ///< printed by ibqueryerrors
  std::string routes_file = {};  ///< printed by dump_fts, or opensm-lfts.dump
};

/// `text` is what `file` holds; auto looks at its first words; yaml:NAME takes the topology of that name.  UsageError
/// for a format that is not known, and for extras of another one than ib; DataError for a text that is not of its
/// format.
Fabric read_fabric(std::string_view text, const std::string& file, const std::string& format = "auto",
                   const IbExtras& extras = {});

/// The whole of a file, "-" the standard input.  IoError when it cannot be read, DataError beyond `most` bytes.
std::string read_fabric_text(const std::string& file, std::size_t most = kLargestText);

}  // namespace banyan::comm
