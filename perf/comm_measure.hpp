// Times several subjects on one case, alternately, so that whatever else the machine does meets all of them.
#pragma once

#include <functional>
#include <vector>

#include "comm/communicator.hpp"
#include "perf/comm_case.hpp"
#include "perf/comm_row.hpp"
#include "perf/comm_subject.hpp"

namespace banyan::perf {

struct MeasureOptions {
  int repeats = 7;              ///< blocks of calls per subject
  double block_seconds = 0.02;  ///< a block lasts about this long, and is one call at least
  bool same_clock = false;      ///< all ranks read one clock, so a barrier can be checked
};

/// One row per subject, on every rank.  `quiet` brings all ranks together with nothing in flight anywhere.
/// `external`, where given, is seconds per call of something outside (rank 0 runs it, the others sleep).
std::vector<Row> measure(comm::Communicator& c, Case& k, const std::vector<Subject>& subjects,
                         const std::function<void()>& quiet, const std::function<double()>& external,
                         const MeasureOptions& options);

}  // namespace banyan::perf
