#include "src/job/memory_check.hpp"

#include <charconv>
#include <map>
#include <vector>

#include "src/base/error.hpp"
#include "src/base/process_memory.hpp"
#include "src/base/units.hpp"

namespace banyan::job {

std::string memory_shortage(std::span<const RankNeed> ranks) {
  struct Node {
    std::string host;
    std::int64_t ranks = 0, planned = 0, memory = 0, largest = 0;
  };
  std::map<int, Node> nodes;
  for (const RankNeed& r : ranks) {
    Node& n = nodes[r.node];
    n.host = r.host;
    n.ranks += r.planned > 0;
    n.planned += r.planned;
    n.memory = std::max(n.memory, r.memory);
    n.largest = std::max(n.largest, r.planned);
  }
  const auto size = [](std::int64_t bytes) { return format_bytes(static_cast<double>(bytes)); };
  for (const auto& [number, n] : nodes)
    if (n.memory > 0 && n.planned > n.memory)
      return fmt::format(
          "{} has {} of memory, but its {} rank{} would need {}{}; use more nodes or fewer ranks on each, raise "
          "parallel.tensor or parallel.pipeline, set parallel.zero = 1, train.recompute = cheap or block or "
          "checkpoint.async = off, put checkpoint.local on a disk, or lower parallel.microbatch (`banyan plan CONFIG "
          "--search` lists what fits)",
          n.host, size(n.memory), n.ranks, n.ranks == 1 ? "" : "s", size(n.planned),
          n.ranks == 1 ? "" : fmt::format(" ({} for the largest)", size(n.largest)));
  return "";
}

std::int64_t memory_of_a_rank(comm::World& world, comm::Communicator& everyone) {
  std::int64_t neighbours = 0;
  for (int rank = 0; rank < world.size(); ++rank) neighbours += world.node(rank) == world.node(world.rank());
  return comm::all_reduce_value(everyone, machine_memory() / neighbours, comm::ReduceOp::kMin,
                                "the memory that ranks have");
}

void check_device_memory(comm::World& world, comm::Communicator& everyone, std::int64_t planned, std::int64_t free) {
  // The worst of all: by how much a plan is larger than what is there.
  const std::int64_t lacking = free > 0 && planned > free ? planned - free : 0;
  const std::int64_t most =
      comm::all_reduce_value(everyone, lacking, comm::ReduceOp::kMax, "the memory of the devices");
  if (most == 0) return;
  const std::string mine =
      lacking == most ? fmt::format("rank {} on {} would need {} of its GPU's memory, which has {} left for it",
                                    world.rank(), world.host(world.rank()), format_bytes(static_cast<double>(planned)),
                                    format_bytes(static_cast<double>(free)))
                      : "";
  for (const std::string& sentence : comm::all_gather_strings(everyone, mine, "the memory of the devices"))
    if (!sentence.empty())
      throw ConfigError(
          "{}; raise parallel.tensor or parallel.pipeline, set parallel.zero = 1 or train.recompute = cheap or block, "
          "or "
          "lower parallel.microbatch",
          sentence);
}

void check_memory(comm::World& world, comm::Communicator& everyone, std::int64_t planned) {
  const std::string mine = fmt::format("{} {}", planned, machine_memory());
  std::vector<RankNeed> needs;
  for (const std::string& text : comm::all_gather_strings(everyone, mine, "the memory that ranks plan")) {
    const int rank = static_cast<int>(needs.size());
    RankNeed need{world.node(rank), world.host(rank), 0, 0};
    const char* const end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data(), end, need.planned);
    if (error != std::errc() || at == end || std::from_chars(at + 1, end, need.memory).ec != std::errc())
      throw BugError("a plan of memory reads '{}'", text);
    needs.push_back(std::move(need));
  }
  if (const std::string sentence = memory_shortage(needs); !sentence.empty()) throw ConfigError("{}", sentence);
}

}  // namespace banyan::job
