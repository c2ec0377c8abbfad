#include "comm/plans/dissemination_gather.hpp"

#include <algorithm>

namespace banyan::comm {

// Scratch holds parts in cyclic order from the own one: r, r+1, ...  With m of them there, the rank m behind lacks just
// these, and the rank m ahead has the next ones.  Five ranks, rank 3:
//
//   round   has          sends to    receives from
//     0     3            2: 3        4: 4
//     1     3 4          1: 3 4      0: 0 1
//     2     3 4 0 1      4: 3        2: 2        (one is missing only)
//           3 4 0 1 2    which is two slices of the result
Plan dissemination_all_gather(int rank, const Parts& parts) {
  Plan plan{.name = "dissemination all-gather", .steps = {}};
  const int size = parts.size();
  // Elements of `n` parts in cyclic order from part `first`.
  const auto elements = [&](int first, int n) {
    std::int64_t sum = 0;
    for (int i = 0; i < n; ++i) sum += parts.count((first + i) % size);
    return sum;
  };
  plan.copy({Buffer::kScratch, 0, parts.count(rank)}, {Buffer::kInput, 0, parts.count(rank)});
  for (int have = 1; have < size; have *= 2) {
    const int n = std::min(have, size - have);
    const int to = (rank - have + size) % size, from = (rank + have) % size;
    const std::int64_t in = elements(from, n), out = elements(rank, n);
    if (in > 0) plan.receive(from, {Buffer::kScratch, elements(rank, have), in});
    if (out > 0) plan.send(to, {Buffer::kScratch, 0, out});
  }
  const Slice tail = parts.range(Buffer::kOutput, rank, size), head = parts.range(Buffer::kOutput, 0, rank);
  plan.copy(tail, {Buffer::kScratch, 0, tail.count});
  plan.copy(head, {Buffer::kScratch, tail.count, head.count});
  return std::move(plan).finish();
}

}  // namespace banyan::comm
