// Which plan carries out which collective, for the life of a run: by group, kind and size a Recipe, and the tree of
// places it was made for.  Written to plans.json and to every checkpoint's manifest, so that a run that comes back on
// other hosts adds its numbers in the order it began with.
//
//   {"version": 1,
//    "links": {"measured": true, "node": {"latency": 1.5e-06, "rate": 5.2e+09}, "leaf": ..., "across": ...,
//              "copy_rate": 8e+09, "reduce_rate": 6e+09},
//    "groups": [{"group": "data group", "size": 4, "tree": [[0,0,1,1], [0,0,0,0]],
//                "plans": {"all-reduce": [{"up_to": 16384, "algorithm": "direct", "piece": 131072, "seconds": 1e-05},
//                                         {"algorithm": "ring", ...}], ...}}]}
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "comm/cost.hpp"
#include "comm/plans/catalog.hpp"

namespace banyan::comm {

/// Recipe of the MPI library's own collective, which is no plan: no promise about bits.
inline constexpr std::string_view kNative = "mpi";

/// One recipe, for calls of up to so many bytes (total_bytes of choose.hpp).
struct PlanRange {
  static constexpr std::int64_t kAnySize = std::numeric_limits<std::int64_t>::max();
  std::int64_t up_to = kAnySize;
  Recipe recipe = {};
  double seconds = 0;  ///< predicted, at up_to or, without a limit, at a size the choice was made for; 0: nobody knows
};

/// The plans of a group, or of all groups of one axis of a mesh, which must all add in the same order.
struct GroupPlans {
  std::string group;  ///< "data group"
  int size = 1;
  GroupTree tree;
  /// By kind, in order of up_to, the last without a limit.  Members of an all-to-all know only their own parts, so that
  /// it has one range.
  std::array<std::vector<PlanRange>, kCollectiveKinds> ranges;

  const Recipe& recipe(CollectiveKind kind, std::int64_t bytes) const;
  /// The same plans: predictions do not count.
  bool same_plans(const GroupPlans& other) const;
};

struct PlanBook {
  Links links;
  std::vector<GroupPlans> groups;
  /// nullptr when the book has no such group of that size.
  const GroupPlans* find(std::string_view group, int size) const;
};

std::string write_book(const PlanBook& book);
/// DataError naming `context` (a file), the group, the kind and what to do.  Checks everything that make_plan relies
/// on.
PlanBook read_book(std::string_view text, const std::string& context);
/// Whether the text is a book of another form than this program writes (or none, "{}"): to be replaced, not obeyed.
bool is_other_form(std::string_view text, const std::string& context);
/// For people: one line for each range.
std::string book_table(const PlanBook& book);

}  // namespace banyan::comm
