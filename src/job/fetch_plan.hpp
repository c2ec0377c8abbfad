// Which node gives which file to which other one, when a job restarts from node-local checkpoints.  Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

namespace banyan::job {

struct Fetch {
  int file = 0;
  int from = 0, to = 0;  ///< ranks
  bool operator==(const Fetch&) const = default;
};

struct FetchNeeds {
  std::vector<int> node;             ///< of each rank, 0 ..
  std::vector<std::int64_t> size;    ///< of each file
  std::vector<std::set<int>> wants;  ///< by node: files that it lacks
  std::vector<std::set<int>> has;    ///< by node: files that it has, whole
};

/// Every file that a node lacks, once, from a node that has it; bytes to give are spread over those that can, and over
/// the ranks of a node.  The order is the same for all: who goes through it one after the other never waits in a
/// circle. nullopt when a file is nowhere.
std::optional<std::vector<Fetch>> plan_fetches(const FetchNeeds& needs);

}  // namespace banyan::job
