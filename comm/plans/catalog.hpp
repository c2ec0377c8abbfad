// Every algorithm by its name.  A Recipe (what is recorded in plans.json) and a Call (what all members of a group know
// of one collective) make the plan of each rank: a pure function, so all members build plans that belong together, on
// whatever hosts they sit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "comm/plans/plan.hpp"

namespace banyan::comm {

/// Members of a group by nested places, innermost first: levels[l][m] is the number of the place of level l that member
/// m sits in; places are numbered by first appearance.  Empty: all members alike.
struct GroupTree {
  std::vector<std::vector<int>> levels = {};
  bool operator==(const GroupTree&) const = default;
};

/// One way to carry out a collective.
struct Recipe {
  std::string algorithm;         ///< "direct", "ring", ...
  std::int64_t piece_bytes = 0;  ///< messages are cut into pieces of at most this size
  bool operator==(const Recipe&) const = default;
};

/// One collective.
struct Call {
  CollectiveKind kind = CollectiveKind::kAllReduce;
  int size = 1;
  std::vector<std::int64_t> counts = {};  ///< elements.  all-reduce, broadcast: one number; reduce-scatter, all-gather:
                                          ///< per member; all-to-all: from each member to this rank
  std::vector<std::int64_t> in_counts = {};  ///< all-to-all: from this rank to each member
  int root = 0;                              ///< broadcast
  std::size_t element_bytes = 4;
};

/// Names for a kind of collective, the first the one that always works.
std::vector<std::string_view> algorithms(CollectiveKind kind);
/// "all-reduce", ...
std::string_view name_of(CollectiveKind kind);
/// The plan of `rank`.  ConfigError for an algorithm that the kind does not have.
Plan make_plan(const Recipe& recipe, const Call& call, const GroupTree& tree, int rank);

}  // namespace banyan::comm
