#include "tests/comm/test_plans.hpp"

#include <algorithm>

#include "comm/group_tree.hpp"
#include "comm/plan_choice.hpp"
#include "tests/comm/conformance.hpp"

namespace banyan::comm {

GroupPlans plans_for_test(World& world, const std::string& algorithm) {
  std::vector<int> nodes, leaves;
  for (int r = 0; r < world.size(); ++r) {
    nodes.push_back(world.node(r));
    leaves.push_back(world.leaf(r));
  }
  PlanWishes wishes = no_wishes();
  bool known = false;
  for (std::size_t k = 0; k < wishes.size(); ++k) {
    const auto names = wishes_for(static_cast<CollectiveKind>(k));
    if (std::count(names.begin(), names.end(), algorithm) == 0) continue;
    wishes[k] = algorithm;
    known = true;
  }
  require(known, "an algorithm called " + algorithm);
  return choose_plans("world", world.size(), make_tree(nodes, leaves), Links{}, false, wishes);
}

}  // namespace banyan::comm
