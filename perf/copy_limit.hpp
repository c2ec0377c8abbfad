// What collectives inside a node could take at best: bare copies into memory that the ranks share and out of it again,
// with nothing around them but a counter for each piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "perf/comm_case.hpp"

namespace banyan::perf {

class CopyLimit {
 public:
  static constexpr int kMostRanks = 63;
  /// Bytes of each rank's part of the shared memory, which begins at a page and is zero.
  static std::size_t part_bytes();

  /// `parts[r]` is rank r's; all ranks make theirs.
  CopyLimit(std::vector<std::byte*> parts, int rank);

  /// The copies of one call: every rank copies to its part, piece by piece, what the others need of it, and out of the
  /// others' parts what it needs of them.  Called by all ranks; through the caches or past them.
  void call(const Case& c, bool past_caches);

 private:
  struct Counters;
  Counters& counters(int rank) const;
  void in(std::size_t bytes, bool past_caches);
  void out(int from, std::size_t bytes);

  const std::vector<std::byte*> parts_;
  const int rank_, ranks_;
  std::uint64_t shown_ = 0;
  std::vector<std::uint64_t> took_;
  std::vector<std::byte> from_, to_;
  std::size_t from_at_ = 0, to_at_ = 0;
};

}  // namespace banyan::perf
