// Proves a collective's plans on paper: executes the plans of all ranks together on symbols instead of numbers, with
// sends that end only when their receive is posted, and a window that holds no more than window_pieces.  Found are:
// plans that do not finish (deadlock, messages nobody takes, lengths that differ), results that miss or repeat a
// contribution, ranks that would compute an element in different orders, and steps that touch memory a message still
// uses.
//
// A plan is deterministic and its messages match in order, so one execution stands for all.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/plans/plan.hpp"

namespace banyan::comm {

struct Collective {
  CollectiveKind kind = CollectiveKind::kAllReduce;
  std::vector<std::int64_t> counts;           ///< all-reduce, broadcast: one; reduce-scatter, all-gather: per rank
  std::vector<std::vector<std::int64_t>> to;  ///< all-to-all: to[i][j] elements from rank i to rank j
  int root = 0;
  bool aliased = false;  ///< reduce-scatter: out is the own part of in; all-gather: in is its own place in out
};

/// Empty when the plans (one per rank) do what the collective promises; otherwise the first thing found, as a sentence.
std::string verify(const Collective& collective, const std::vector<Plan>& plans);

/// The same of two forms of one collective; and both give every element in the same order of operands.
std::string verify_same(const Collective& collective, const std::vector<Plan>& a, const std::vector<Plan>& b);

/// Elements one rank sends or, once for each reader, publishes.
std::int64_t sent_elements(const Plan& plan);

}  // namespace banyan::comm
