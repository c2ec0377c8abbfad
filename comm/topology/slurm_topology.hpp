// What Slurm knows of the fabric: topology.conf (topology.conf(5); plugins topology/tree and topology/block) and what
// `scontrol show topology` prints (scontrol(1)), and what it tells every job in its environment.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "comm/topology/fabric.hpp"

namespace banyan::comm {

/// Either of the two; both have lines of KEY=VALUE.  Blocks count as leaves.  DataError with file and line.
Fabric parse_slurm_topology(std::string_view text, const std::string& file);

/// SLURM_TOPOLOGY_ADDR ("spine.leaf1.n7") and SLURM_TOPOLOGY_ADDR_PATTERN ("switch.switch.node") as a rank on this host
/// has them (sbatch(1), OUTPUT ENVIRONMENT VARIABLES).
struct SlurmAddress {
  std::string host, address, pattern;
};
/// The fabric that the addresses of all hosts of a job make up; a host may be there more than once.  DataError when one
/// has none or they contradict each other.
Fabric fabric_of_addresses(const std::vector<SlurmAddress>& addresses);

/// The places above a host, from the top: {"spine", "leaf1"}; empty where the two say nothing.
std::vector<std::string> switches_of_address(std::string_view address, std::string_view pattern);

}  // namespace banyan::comm
