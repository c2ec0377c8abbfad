// Plans for tests that run every algorithm.
#pragma once

#include <string>

#include "comm/communicator.hpp"
#include "comm/plan_book.hpp"

namespace banyan::comm {

/// For all ranks: the algorithm for every kind that has it.
GroupPlans plans_for_test(World& world, const std::string& algorithm);

}  // namespace banyan::comm
