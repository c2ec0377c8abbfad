// Recursive doubling: all-reduce of small messages in log2(size) rounds, any rank count.
// R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective Communication Operations in MPICH", 2005,
// section 4.5.
#pragma once

#include "comm/plans/plan.hpp"

namespace banyan::comm {

Plan recursive_doubling_all_reduce(int rank, int size, std::int64_t count);

}  // namespace banyan::comm
