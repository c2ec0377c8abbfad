// Whether what the ranks of each node are about to allocate fits into it.  Asked before anything is allocated: memory
// is promised freely and the kernel kills whoever comes to use it.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "comm/communicator.hpp"

namespace banyan::job {

struct RankNeed {
  int node = 0;
  std::string host;
  std::int64_t planned = 0;  ///< bytes of this rank's plan
  std::int64_t memory = 0;   ///< bytes of its node, 0: not known
};

/// A sentence about the first node that is too small; empty when all fit.
std::string memory_shortage(std::span<const RankNeed> ranks);

/// Bytes that each rank may have where those of a node share its memory evenly; of the node where that is least.  0:
/// not known.  Collective over the ranks of `everyone`, which are all of the world.
std::int64_t memory_of_a_rank(comm::World& world, comm::Communicator& everyone);

/// Collective over the ranks of `everyone`.  ConfigError on all of them when a node is too small.
void check_memory(comm::World& world, comm::Communicator& everyone, std::int64_t planned);
/// The same of the device that a rank computes with, of whose memory `free` bytes are for it; 0: it has none.
void check_device_memory(comm::World& world, comm::Communicator& everyone, std::int64_t planned, std::int64_t free);

}  // namespace banyan::job
