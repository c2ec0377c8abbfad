// topology.yaml of Slurm (topology.yaml(5), since 25.05): several topologies in one file, each for some partitions.
#pragma once

#include <string>
#include <string_view>

#include "comm/topology/fabric.hpp"

namespace banyan::comm {

/// The topology called `name`; without a name the only one, or the first that says `cluster_default: true`.  Of the
/// plugins, tree and block describe a tree (blocks count as leaves); flat and others say nothing of switches and are
/// refused.  DataError with file and line; it lists the names when the one asked for is not there.
Fabric parse_topology_yaml(std::string_view text, const std::string& file, std::string_view name = {});

}  // namespace banyan::comm
