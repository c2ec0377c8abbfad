// Who waits for whom, as far as a rank has heard, and who is to blame when a wait is in vain: not the peer that waits
// for somebody else.  Pure.
#pragma once

#include <map>
#include <set>

namespace banyan::comm {

struct WaitGraph {
  std::map<int, int> waits_for;  ///< rank -> the rank that it said it waits for
  std::set<int> silent;          ///< ranks that do not answer their neighbours
};

/// Rank above `rank` in the tree along which words travel; -1 above rank 0.
int upper_rank(int rank);

/// `self` waits for `waited` in vain.  Follows who waits for whom to the end.  Whoever stands there and is not known to
/// wait is to blame, unless its words cannot come because a silent rank sits between: then that one.  A circle, which
/// only a lost message or a bug can make, is blamed on `waited`.
int culprit(const WaitGraph& graph, int self, int waited);

}  // namespace banyan::comm
