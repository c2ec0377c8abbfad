#include "comm/plans/member_tree.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

namespace banyan::comm {
namespace {

MemberTree joined(std::vector<MemberTree> parts) {
  if (parts.size() == 1) return std::move(parts.front());
  MemberTree node;
  for (const MemberTree& part : parts) {
    node.members.insert(node.members.end(), part.members.begin(), part.members.end());
    node.height = std::max(node.height, part.height + 1);
  }
  std::sort(node.members.begin(), node.members.end());
  node.parts = std::move(parts);
  return node;
}

// At most `most` parts, by halves of neighbours.
MemberTree grouped(std::vector<MemberTree> parts, int most) {
  if (static_cast<int>(parts.size()) <= most) return joined(std::move(parts));
  const auto middle = parts.begin() + static_cast<std::ptrdiff_t>((parts.size() + 1) / 2);
  std::vector<MemberTree> halves;
  halves.push_back(grouped({parts.begin(), middle}, most));
  halves.push_back(grouped({middle, parts.end()}, most));
  return joined(std::move(halves));
}

MemberTree inside(const GroupTree& tree, std::size_t levels, const std::vector<int>& members, int most) {
  std::vector<MemberTree> parts;
  if (levels == 0) {
    for (int m : members) parts.push_back({{m}, {}, 0});
    return grouped(std::move(parts), most);
  }
  std::map<int, std::vector<int>> by_place;
  std::vector<int> order;
  for (int m : members) {
    const int place = tree.levels[levels - 1][static_cast<std::size_t>(m)];
    if (by_place[place].empty()) order.push_back(place);
    by_place[place].push_back(m);
  }
  for (int place : order) parts.push_back(inside(tree, levels - 1, by_place[place], most));
  return grouped(std::move(parts), most);
}

}  // namespace

bool MemberTree::has(int member) const { return std::binary_search(members.begin(), members.end(), member); }

MemberTree member_tree(const GroupTree& tree, int size, int most) {
  std::vector<int> all(static_cast<std::size_t>(size));
  std::iota(all.begin(), all.end(), 0);
  return inside(tree, tree.levels.size(), all, most);
}

}  // namespace banyan::comm
