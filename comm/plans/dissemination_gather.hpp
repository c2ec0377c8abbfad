// All-gather of small parts in log2(size) rounds, any rank count.
// J. Bruck et al., "Efficient Algorithms for All-to-All Communications in Multiport Message-Passing Systems", 1997.
#pragma once

#include "comm/plans/plan.hpp"

namespace banyan::comm {

/// kInput holds the own part, kOutput all; kInput may be its own place in kOutput.  Needs scratch for all parts.
Plan dissemination_all_gather(int rank, const Parts& parts);

}  // namespace banyan::comm
