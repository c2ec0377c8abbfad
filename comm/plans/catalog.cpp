#include "comm/plans/catalog.hpp"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "comm/plans/direct.hpp"
#include "comm/plans/dissemination_gather.hpp"
#include "comm/plans/hierarchical.hpp"
#include "comm/plans/recursive_doubling.hpp"
#include "comm/plans/ring.hpp"
#include "comm/plans/spread.hpp"
#include "comm/plans/tree.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

// Up to here an all-reduce of few ranks takes one round: latency counts more than volume.  Operand order is the same
// on both sides of the limit.
constexpr std::int64_t kOneRoundBytes = 16 << 10;

struct Request {
  const Call& call;
  const GroupTree& tree;
  int rank;
  std::int64_t piece;  // elements
  std::int64_t count() const { return call.counts.at(0); }
  Parts parts() const { return Parts(call.counts); }
  MemberTree binary() const { return member_tree({}, call.size, 2); }
  MemberTree places() const { return member_tree(tree, call.size, kMostParts); }
  std::int64_t bytes() const { return count() * static_cast<std::int64_t>(call.element_bytes); }
};
struct Algorithm {
  std::string_view name;
  std::function<Plan(const Request&)> make;
};

const std::vector<Algorithm>& algorithms_of(CollectiveKind kind) {
  using R = const Request&;
  static const std::vector<Algorithm> all_reduce{
      {"direct",
       [](R r) {
         return r.call.size == 2 || r.bytes() <= kOneRoundBytes
                    ? direct_all_reduce_one_round(r.rank, r.call.size, r.count(), r.piece)
                    : direct_all_reduce(r.rank, r.call.size, r.count(), r.piece);
       }},
      {"ring", [](R r) { return ring_all_reduce(r.rank, r.call.size, r.count(), r.piece); }},
      {"doubling", [](R r) { return recursive_doubling_all_reduce(r.rank, r.call.size, r.count()); }},
      {"halving", [](R r) { return hierarchical_all_reduce(r.binary(), r.rank, r.count(), r.piece); }},
      {"hierarchical", [](R r) { return hierarchical_all_reduce(r.places(), r.rank, r.count(), r.piece); }},
      {"tree", [](R r) { return all_reduce_along(binomial_branch(r.rank, r.call.size, 0), r.count(), r.piece); }},
      {"bine", [](R r) { return all_reduce_along(bine_branch(r.rank, r.call.size, 0), r.count(), r.piece); }},
  };
  static const std::vector<Algorithm> reduce_scatter{
      {"direct", [](R r) { return direct_reduce_scatter(r.rank, r.parts(), r.piece); }},
      {"ring", [](R r) { return ring_reduce_scatter(r.rank, r.parts(), r.piece); }},
      {"halving", [](R r) { return hierarchical_reduce_scatter(r.binary(), r.rank, r.parts(), r.piece); }},
      {"hierarchical", [](R r) { return hierarchical_reduce_scatter(r.places(), r.rank, r.parts(), r.piece); }},
  };
  static const std::vector<Algorithm> all_gather{
      {"direct", [](R r) { return direct_all_gather(r.rank, r.parts(), r.piece); }},
      {"ring", [](R r) { return ring_all_gather(r.rank, r.parts(), r.piece); }},
      {"dissemination", [](R r) { return dissemination_all_gather(r.rank, r.parts()); }},
      {"doubling", [](R r) { return hierarchical_all_gather(r.binary(), r.rank, r.parts(), r.piece); }},
      {"hierarchical", [](R r) { return hierarchical_all_gather(r.places(), r.rank, r.parts(), r.piece); }},
  };
  static const std::vector<Algorithm> broadcast{
      {"binomial",
       [](R r) { return broadcast_along(binomial_branch(r.rank, r.call.size, r.call.root), r.count(), r.piece); }},
      {"bine", [](R r) { return broadcast_along(bine_branch(r.rank, r.call.size, r.call.root), r.count(), r.piece); }},
      {"hierarchical",
       [](R r) { return broadcast_along(hierarchical_branch(r.places(), r.rank, r.call.root), r.count(), r.piece); }},
      {"direct", [](R r) { return direct_broadcast(r.rank, r.call.size, r.count(), r.call.root, r.piece); }},
  };
  static const std::vector<Algorithm> barrier{
      {"dissemination", [](R r) { return dissemination_barrier(r.rank, r.call.size); }},
      {"direct", [](R r) { return direct_barrier(r.rank, r.call.size); }},
  };
  static const std::vector<Algorithm> all_to_all{
      {"pairwise", [](R r) { return pairwise_all_to_all(r.rank, Parts(r.call.in_counts), r.parts(), r.piece); }},
      {"direct", [](R r) { return direct_all_to_all(r.rank, Parts(r.call.in_counts), r.parts(), r.piece); }},
  };
  switch (kind) {
    case CollectiveKind::kAllReduce:
      return all_reduce;
    case CollectiveKind::kReduceScatter:
      return reduce_scatter;
    case CollectiveKind::kAllGather:
      return all_gather;
    case CollectiveKind::kBroadcast:
      return broadcast;
    case CollectiveKind::kBarrier:
      return barrier;
    case CollectiveKind::kAllToAll:
      return all_to_all;
  }
  throw BugError("unknown collective {}", static_cast<int>(kind));
}

}  // namespace

std::vector<std::string_view> algorithms(CollectiveKind kind) {
  std::vector<std::string_view> names;
  for (const Algorithm& a : algorithms_of(kind)) names.push_back(a.name);
  return names;
}

std::string_view name_of(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::kAllReduce:
      return "all-reduce";
    case CollectiveKind::kReduceScatter:
      return "reduce-scatter";
    case CollectiveKind::kAllGather:
      return "all-gather";
    case CollectiveKind::kBroadcast:
      return "broadcast";
    case CollectiveKind::kBarrier:
      return "barrier";
    case CollectiveKind::kAllToAll:
      return "all-to-all";
  }
  throw BugError("unknown collective {}", static_cast<int>(kind));
}

Plan make_plan(const Recipe& recipe, const Call& call, const GroupTree& tree, int rank) {
  const auto& known = algorithms_of(call.kind);
  const auto found =
      std::find_if(known.begin(), known.end(), [&](const Algorithm& a) { return a.name == recipe.algorithm; });
  if (found == known.end())
    throw ConfigError("there is no {} called {}; use one of {}", name_of(call.kind), recipe.algorithm,
                      fmt::join(algorithms(call.kind), ", "));
  const auto element = static_cast<std::int64_t>(call.element_bytes);
  return found->make({call, tree, rank, std::max<std::int64_t>(1, recipe.piece_bytes / element)});
}

}  // namespace banyan::comm
