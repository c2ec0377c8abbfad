// Names slow ranks of a job in the log and in the metrics; rank 0.
#pragma once

#include <span>

#include "src/job/metrics.hpp"
#include "src/job/setup.hpp"
#include "src/train/stragglers.hpp"

namespace banyan::train {

class StragglerReport {
 public:
  /// Ranks of one stage do the same work, spares none.
  StragglerReport(const job::Job& job, const job::Team& team);
  /// The typical working times of all ranks of the job, or nothing in steps in which they do not tell them.
  void add(std::span<const double> work, job::Metrics& metrics);

 private:
  const job::Job& job_;
  Stragglers stragglers_;
};

}  // namespace banyan::train
