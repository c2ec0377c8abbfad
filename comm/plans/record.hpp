// What is written down about plans (plans.json, the checkpoint's manifest), so that a later run can tell whether it
// adds numbers in the same order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/plans/plan.hpp"

namespace banyan::comm {

/// One choice: which generator makes the plan of a collective of `bytes` (fp32) among `size` ranks, and a digest of the
/// steps of its first rank.
struct PlanRecord {
  std::string collective;
  std::int64_t bytes = 0;
  std::string generator;
  std::uint64_t digest = 0;
};

/// Changes with every step, slice and peer of a plan.
std::uint64_t digest(const Plan& plan);
/// The collectives that add numbers, at message sizes on both sides of every limit where the choice changes.  Pure:
/// equal records mean equal operand order.
std::vector<PlanRecord> record_plans(int size);

}  // namespace banyan::comm
