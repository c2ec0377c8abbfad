#include "perf/comm_groups.hpp"

#include <fmt/format.h>

#include <cstring>
#include <numeric>
#include <utility>

#include "comm/calibrate.hpp"
#include "comm/group_tree.hpp"
#include "comm/plan_book.hpp"
#include "comm/plan_choice.hpp"
#include "src/base/error.hpp"

namespace banyan::perf {
namespace {

comm::CollectiveKind kind_of(Traffic traffic) {
  using comm::CollectiveKind;
  switch (traffic) {
    case Traffic::kBarrier:
      return CollectiveKind::kBarrier;
    case Traffic::kBroadcast:
      return CollectiveKind::kBroadcast;
    case Traffic::kAllReduce:
      return CollectiveKind::kAllReduce;
    case Traffic::kReduceScatter:
      return CollectiveKind::kReduceScatter;
    case Traffic::kAllGather:
      return CollectiveKind::kAllGather;
    case Traffic::kAllToAll:
      return CollectiveKind::kAllToAll;
    default:
      throw BugError("{} is no collective", name_of(traffic));
  }
}

}  // namespace

CommGroups::CommGroups(comm::World& world, const comm::ReduceFunction& reduce) : world_(world) {
  quiet_ = make("bench");
  std::vector<int> nodes, leaves;
  for (int r = 0; r < world.size(); ++r) {
    nodes.push_back(world.node(r));
    leaves.push_back(world.leaf(r));
  }
  tree_ = comm::make_tree(nodes, leaves);
  window_ = comm::on_one_node(tree_) && world.shares_memory();
  links_ = comm::measure_links(
      *quiet_, world, [&reduce](View out, ConstView a, ConstView b) { reduce({}, out, a, b, comm::ReduceOp::kSum); },
      [](View out, ConstView in) { std::memcpy(out.data, in.data, in.bytes()); });
}

std::unique_ptr<comm::Communicator> CommGroups::make(const std::string& name) {
  std::vector<int> ranks(static_cast<std::size_t>(world_.size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return world_.group(std::move(ranks), next_id_++, name);
}

std::vector<std::string> CommGroups::algorithms(Traffic traffic) {
  std::vector<std::string> names{"auto"};
  if (!point_to_point(traffic))
    for (std::string_view name : comm::algorithms(kind_of(traffic))) names.emplace_back(name);
  return names;
}

comm::Communicator& CommGroups::with(Traffic traffic, const std::string& algorithm, std::int64_t piece) {
  if (point_to_point(traffic)) return *quiet_;
  const std::string key = fmt::format("{} {}", name_of(traffic), algorithm);
  auto& group = made_[key];
  if (group) return *group;
  const comm::CollectiveKind kind = kind_of(traffic);
  comm::PlanWishes wishes = comm::no_wishes();
  wishes[static_cast<std::size_t>(kind)] = algorithm;
  comm::GroupPlans plans = comm::choose_plans(key, world_.size(), tree_, links_, window_, wishes);
  if (piece > 0)
    for (comm::PlanRange& range : plans.ranges[static_cast<std::size_t>(kind)]) range.recipe.piece_bytes = piece;
  auto made = make(key);
  made->use_plans(plans);
  group = std::move(made);
  return *group;
}

std::string CommGroups::chosen(Traffic traffic, std::int64_t bytes) const {
  if (point_to_point(traffic)) return "";
  const comm::GroupPlans plans = comm::choose_plans("bench", world_.size(), tree_, links_, window_, comm::no_wishes());
  return plans.recipe(kind_of(traffic), bytes).algorithm;
}

}  // namespace banyan::perf
