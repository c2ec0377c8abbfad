// Which algorithm carries out a collective where nobody says otherwise.  A pure function of what all members know, so
// all of them choose the same.
#pragma once

#include "comm/plans/catalog.hpp"

namespace banyan::comm {

/// Bytes of what a call moves: all parts together.
std::int64_t total_bytes(const Call& call);
/// Bytes of the pieces of direct plans among so many members: what an operation holds of all of them stays small.
std::int64_t direct_piece(int size, bool window);
/// `window`: a shared window carries plans that publish and fold.  Where sums are made it makes no difference.
Recipe choose(const Call& call, bool window);

}  // namespace banyan::comm
