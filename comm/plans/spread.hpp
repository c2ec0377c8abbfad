// Plans that only move data, or nothing: barrier, all-to-all.
#pragma once

#include "comm/plans/plan.hpp"

namespace banyan::comm {

/// Nobody leaves before everybody has come.  D. Hensgen, R. Finkel, U. Manber, "Two Algorithms for Barrier
/// Synchronization", 1988: in round k everyone signals the rank 2^k behind it.
Plan dissemination_barrier(int rank, int size);
/// kInput is the concatenation of what goes to each rank, kOutput of what comes from each.  Empty messages are sent
/// too, so that counts that do not agree are noticed.
Plan pairwise_all_to_all(int rank, const Parts& in, const Parts& out, std::int64_t message);

}  // namespace banyan::comm
