// What the links between these ranks are worth today: a moment of messages and copies before training starts.  The
// numbers only ever lead to a choice of plans, which is then recorded; they differ from start to start, so they are
// rounded to two digits.
#pragma once

#include <functional>

#include "comm/communicator.hpp"
#include "comm/cost.hpp"

namespace banyan::comm {

/// Called by all ranks of the world, `everyone` being all of them and nothing in flight.  The answer counts on rank 0.
/// Pairs of each distance exchange an empty message and a long one, back and forth, side by side inside the nodes (they
/// share memory in earnest too), one pair for each two nodes or leaves otherwise.  A distance that no two ranks have
/// keeps its usual value.
Links measure_links(Communicator& everyone, World& world,
                    const std::function<void(View out, ConstView a, ConstView b)>& reduce,
                    const std::function<void(View out, ConstView in)>& copy);

/// Rounded to two decimal digits.
double two_digits(double value);

/// For every rank its partner at that distance, -1 for none; each rank has one at most.  `node` and `leaf` by rank.
std::vector<int> partners(Distance distance, const std::vector<int>& node, const std::vector<int>& leaf);

}  // namespace banyan::comm
