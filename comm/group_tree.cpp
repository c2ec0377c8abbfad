#include "comm/group_tree.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "comm/topology/slurm_topology.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

/// The same partition with places numbered as they appear.
template <class Name>
std::vector<int> by_appearance(const std::vector<Name>& names) {
  std::map<Name, int> numbers;
  std::vector<int> result;
  for (const Name& name : names)
    result.push_back(numbers.emplace(name, static_cast<int>(numbers.size())).first->second);
  return result;
}

}  // namespace

std::string leaf_name(std::string_view address, std::string_view pattern) {
  return fmt::format("{}", fmt::join(switches_of_address(address, pattern), "."));
}

std::vector<int> number_places(const std::vector<std::string>& names) {
  if (std::any_of(names.begin(), names.end(), [](const auto& name) { return name.empty(); }))
    return std::vector<int>(names.size(), 0);
  return by_appearance(names);
}

GroupTree make_tree(const std::vector<int>& nodes, const std::vector<int>& leaves) {
  if (nodes.size() != leaves.size()) throw BugError("{} nodes and {} leaves of members", nodes.size(), leaves.size());
  return {{by_appearance(nodes), by_appearance(leaves)}};
}

GroupTree common_tree(const std::vector<GroupTree>& trees) {
  GroupTree common;
  for (std::size_t level = 0; level < trees.at(0).levels.size(); ++level) {
    std::vector<std::vector<int>> places(trees[0].levels[level].size());
    for (const GroupTree& tree : trees) {
      if (tree.levels.size() != trees[0].levels.size() || tree.levels[level].size() != places.size())
        throw BugError("trees of groups of unlike sizes have nothing in common");
      for (std::size_t m = 0; m < places.size(); ++m) places[m].push_back(tree.levels[level][m]);
    }
    common.levels.push_back(by_appearance(places));
  }
  return common;
}

bool on_one_node(const GroupTree& tree) {
  return tree.levels.empty() ||
         std::all_of(tree.levels[0].begin(), tree.levels[0].end(), [](int place) { return place == 0; });
}

}  // namespace banyan::comm
