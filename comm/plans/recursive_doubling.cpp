#include "comm/plans/recursive_doubling.hpp"

#include <bit>

namespace banyan::comm {

// Six ranks: the first two pairs fold into one rank each, so that four ranks ("slots") remain; these exchange partial
// sums at distance 1, 2, ...; a partial sum always covers neighbouring ranks and the lower half is the left operand, so
// every rank computes the same expression ((0+1)+(2+3))+(4+5).
//
//   rank   0   1   2   3   4   5
//          +---'   +---'   |   |      fold
//   slot   0       1       2   3
//          +-------+       +---+      distance 1
//          +---------------+ ...      distance 2
//          +---.   +---.              unfold
Plan recursive_doubling_all_reduce(int rank, int size, std::int64_t count) {
  Plan plan{.name = "recursive doubling all-reduce", .steps = {}};
  if (count == 0 || size == 1) return plan;
  const int slots = static_cast<int>(std::bit_floor(static_cast<unsigned>(size)));
  const int folded = size - slots;  // pairs (2i, 2i+1), i < folded, share slot i
  const auto rank_of = [&](int slot) { return slot < folded ? 2 * slot : slot + folded; };
  const Slice data{Buffer::kOutput, 0, count};
  const Slice scratch[2] = {{Buffer::kScratch, 0, count}, {Buffer::kScratch, count, count}};

  if (rank < 2 * folded && rank % 2 == 1) {  // hands its contribution in and waits for the result
    plan.send(rank - 1, data);
    plan.receive(rank - 1, data);
    return std::move(plan).finish();
  }
  if (rank < 2 * folded) {
    plan.receive(rank + 1, scratch[0]);
    plan.reduce(data, scratch[0]);
  }
  const int slot = rank < 2 * folded ? rank / 2 : rank - folded;
  Slice sum = data;  // where the partial sum is; it moves when this rank is the upper half
  int free = 0;
  for (int distance = 1; distance < slots; distance *= 2) {
    const int peer = rank_of(slot ^ distance);
    const Slice theirs = scratch[free];
    plan.receive(peer, theirs);
    plan.send(peer, sum);
    if (slot & distance) {
      plan.reduce(theirs, sum);
      sum = theirs;
      free = 1 - free;
    } else {
      plan.reduce(sum, theirs);
    }
  }
  if (sum.buffer != data.buffer) plan.copy(data, sum);
  if (rank < 2 * folded) plan.send(rank + 1, data);
  return std::move(plan).finish();
}

}  // namespace banyan::comm
