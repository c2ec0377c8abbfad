// What rank 0 shows of the steps: on a terminal one live line (bar, loss, tokens/s, time left), otherwise plain lines.
#pragma once

#include <cstdint>
#include <string>

#include "src/base/section.hpp"
#include "src/job/metrics.hpp"

namespace banyan::train {

/// "[=====>    ]  51 %" of the given number of characters between the brackets.
std::string bar(std::int64_t done, std::int64_t total, int width);

class Progress {
 public:
  /// A line every `every` steps.
  Progress(std::int64_t first_step, std::int64_t steps, std::int64_t every);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `step` steps are done; `always`: a line even if it is not due.
  void step(std::int64_t step, const job::Metrics& metrics, bool always);

 private:
  const std::int64_t first_, steps_, every_;
  const Clock::time_point start_;
};

}  // namespace banyan::train
