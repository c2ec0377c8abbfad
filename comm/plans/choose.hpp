// Which plan for which collective: a pure function of the group's size and the message's, so that all ranks choose
// alike.
#pragma once

#include "comm/plans/plan.hpp"

namespace banyan::comm {

Plan choose_all_reduce(int rank, int size, std::int64_t count, std::size_t element_bytes);
Plan choose_reduce_scatter(int rank, const Parts& parts, std::size_t element_bytes);
Plan choose_all_gather(int rank, const Parts& parts, std::size_t element_bytes);
Plan choose_broadcast(int rank, int size, std::int64_t count, int root, std::size_t element_bytes);
Plan choose_all_to_all(int rank, const Parts& in, const Parts& out, std::size_t element_bytes);

}  // namespace banyan::comm
