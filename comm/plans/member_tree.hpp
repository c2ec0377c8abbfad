// The places of a GroupTree as a tree of members, for plans that go level by level.
#pragma once

#include <vector>

#include "comm/plans/catalog.hpp"

namespace banyan::comm {

/// Parts of a place whose members all turn to each other, in plans that follow the places of a group.
inline constexpr int kMostParts = 8;

/// A member, or a place with at least two parts.
struct MemberTree {
  std::vector<int> members;  ///< in rank order
  std::vector<MemberTree> parts;
  int height = 0;  ///< 0: one member
  bool has(int member) const;
};

/// Places that are not inside one of the next level are cut at its borders; places with one part vanish; where a place
/// has more than `most` parts, neighbours are taken together by halves.
MemberTree member_tree(const GroupTree& tree, int size, int most);

}  // namespace banyan::comm
