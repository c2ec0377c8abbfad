#include "comm/plans/direct.hpp"

#include <algorithm>

namespace banyan::comm {
namespace {

// Adds one piece up at its owner, in rank order.  Before: `own` is the owner's contribution, slots[i] in scratch the
// contribution of the i-th other rank.  After: `out` is the sum.
void reduce_in_rank_order(Plan& plan, int rank, Slice own, Slice out, const std::vector<Slice>& slots) {
  const auto others = static_cast<int>(slots.size());
  const auto contribution = [&](int r) {
    return r == rank ? own : slots[static_cast<std::size_t>(r < rank ? r : r - 1)];
  };
  const Slice sum = contribution(0);
  for (int r = 1; r <= others; ++r) plan.reduce(sum, contribution(r));
  plan.copy(out, sum);
}

std::vector<Slice> scratch_slots(int others, std::int64_t from, std::int64_t stride, std::int64_t count) {
  std::vector<Slice> slots;
  for (int i = 0; i < others; ++i) slots.push_back({Buffer::kScratch, from + i * stride, count});
  return slots;
}

// The i-th other rank of `rank`, starting behind it so that not everybody speaks to rank 0 first.
int other(int rank, int size, int i) { return (rank + 1 + i) % size; }

// Every rank sends the parts it does not own and adds up the one it owns, piece by piece: from `data` (all parts) to
// `out` (own part).  With `spread`, finished pieces go on to all others, and theirs are received into their place in
// `data`.
//
// Step i of the loop: piece i starts to arrive and to leave; piece i-1 is added up and spread.  Two sets of scratch
// slots do, and no more than a few messages per pair of ranks are under way.  Both ends of a pair post in the same
// order: piece i on its way to its owner, then piece i-1 on its way back.
void reduce_own_part(Plan& plan, int rank, const Parts& parts, Buffer data, Slice out, std::int64_t piece,
                     bool spread) {
  const int size = parts.size();
  std::vector<std::vector<Slice>> cut;  // by part
  std::size_t most = 0;
  for (int r = 0; r < size; ++r) {
    cut.push_back(pieces(parts.slice(data, r), piece));
    most = std::max(most, cut.back().size());
  }
  const auto& mine = cut[static_cast<std::size_t>(rank)];
  const std::int64_t stride = mine.empty() ? 0 : mine.front().count;
  const auto slots_of = [&](std::size_t i) {
    return scratch_slots(size - 1, static_cast<std::int64_t>(i % 2) * (size - 1) * stride, stride, mine[i].count);
  };
  const auto others = [&](const auto& f) {
    for (int k = 0; k < size - 1; ++k) f(other(rank, size, k));
  };
  std::vector<std::vector<int>> sends(static_cast<std::size_t>(size));  // step numbers of pieces sent, by owner
  for (std::size_t i = 0; i <= most; ++i) {
    if (i < mine.size())
      others([&](int r) { plan.receive(r, slots_of(i)[static_cast<std::size_t>(r < rank ? r : r - 1)]); });
    others([&](int r) {
      const auto& theirs = cut[static_cast<std::size_t>(r)];
      if (i >= theirs.size()) return;
      auto& before = sends[static_cast<std::size_t>(r)];
      plan.send(r, theirs[i]);
      if (i >= 2) plan.steps.back().needs.push_back(before[i - 2]);
      before.push_back(static_cast<int>(plan.steps.size()) - 1);
    });
    if (i == 0) continue;
    if (i - 1 < mine.size()) {
      const Slice target{out.buffer, out.begin + (mine[i - 1].begin - parts.begin(rank)), mine[i - 1].count};
      reduce_in_rank_order(plan, rank, mine[i - 1], target, slots_of(i - 1));
      if (spread) others([&](int r) { plan.send(r, target); });
    }
    if (!spread) continue;
    others([&](int r) {
      const auto& theirs = cut[static_cast<std::size_t>(r)];
      if (i - 1 < theirs.size()) plan.receive(r, theirs[i - 1]);
    });
  }
}

}  // namespace

Plan direct_all_reduce_small(int rank, int size, std::int64_t count) {
  Plan plan{.name = "direct all-reduce, one round", .steps = {}};
  const Slice own{Buffer::kOutput, 0, count};
  const auto slots = scratch_slots(size - 1, 0, count, count);
  if (count == 0 || size == 1) return plan;
  for (int k = 0; k < size - 1; ++k) {
    const int from = other(rank, size, k);
    plan.receive(from, slots[static_cast<std::size_t>(from < rank ? from : from - 1)]);
  }
  for (int k = 0; k < size - 1; ++k) plan.send(other(rank, size, k), own);
  reduce_in_rank_order(plan, rank, own, own, slots);
  return std::move(plan).finish();
}

Plan direct_all_reduce(int rank, int size, std::int64_t count, std::int64_t piece) {
  Plan plan{.name = "direct all-reduce", .steps = {}};
  if (size == 1) return plan;
  const Parts parts = Parts::even(count, size);
  reduce_own_part(plan, rank, parts, Buffer::kOutput, parts.slice(Buffer::kOutput, rank), piece, true);
  return std::move(plan).finish();
}

Plan direct_reduce_scatter(int rank, const Parts& parts, std::int64_t piece) {
  Plan plan{.name = "direct reduce-scatter", .steps = {}};
  const Slice out{Buffer::kOutput, 0, parts.count(rank)};
  if (parts.size() == 1)
    plan.copy(out, parts.slice(Buffer::kInput, 0));
  else
    reduce_own_part(plan, rank, parts, Buffer::kInput, out, piece, false);
  return std::move(plan).finish();
}

Plan direct_all_gather(int rank, const Parts& parts, std::int64_t message) {
  Plan plan{.name = "direct all-gather", .steps = {}};
  const int size = parts.size();
  for (int k = 0; k < size - 1; ++k)
    for (const Slice& s : pieces(parts.slice(Buffer::kOutput, other(rank, size, k)), message))
      plan.receive(other(rank, size, k), s);
  plan.copy(parts.slice(Buffer::kOutput, rank), {Buffer::kInput, 0, parts.count(rank)});
  for (int k = 0; k < size - 1; ++k)
    for (const Slice& s : pieces(parts.slice(Buffer::kOutput, rank), message)) plan.send(other(rank, size, k), s);
  return std::move(plan).finish();
}

}  // namespace banyan::comm
