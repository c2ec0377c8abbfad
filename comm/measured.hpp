// What measuring links and networks have in common.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "src/base/section.hpp"

namespace banyan::comm {

/// The middle one, of an even number the upper; there is at least one.
inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Never 0, so that it may divide.
inline double seconds_since(Clock::time_point start) { return std::max(1e-9, Seconds(Clock::now() - start).count()); }

}  // namespace banyan::comm
