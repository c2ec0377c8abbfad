// Who meets whom in the collectives of an axis.  All its groups follow one plan, made for the places that members share
// in every group (comm::common_tree): members that are neighbours in one group only meet as if they were far apart.
// Pure.
#pragma once

#include <vector>

#include "comm/plans/catalog.hpp"

namespace banyan::plan {

/// Of a hierarchical all-reduce (comm/plans/hierarchical.hpp), up and down together, in which both send as much.
struct Meeting {
  int a = 0, b = 0;  ///< members of a group
  double share = 0;  ///< of the bytes all-reduced, that each sends the other
};
/// By phase on the way up, the innermost first.
using Meetings = std::vector<std::vector<Meeting>>;

/// Of a group of `size` whose members sit in `tree`.
Meetings meetings_of(const comm::GroupTree& tree, int size);

}  // namespace banyan::plan
