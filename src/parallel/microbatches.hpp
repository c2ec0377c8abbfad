// Which microbatches of a global batch a data rank computes.  Pure.
#pragma once

#include <cstdint>

namespace banyan::parallel {

/// Microbatches [first, first + count) of the global batch, in the order of the samples.
struct MicrobatchRange {
  std::int64_t first = 0, count = 0;
  bool operator==(const MicrobatchRange&) const = default;
};

/// Data rank `rank` of `ranks` gets total/ranks microbatches, the first total%ranks ranks one more: consecutive, in
/// rank order, nothing left out.  Counts of two ranks differ by at most one.
MicrobatchRange split_microbatches(std::int64_t total, int rank, int ranks);

}  // namespace banyan::parallel
