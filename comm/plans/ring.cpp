#include "comm/plans/ring.hpp"

#include <algorithm>

namespace banyan::comm {
namespace {

// Four ranks, reduce phase.  Part c sets out at rank c+1 and gathers a contribution at every rank it passes; after
// size-1 rounds it is complete where it belongs.
//
//   round   rank 0        rank 1        rank 2        rank 3
//     0     sends 3 ->    sends 0 ->    sends 1 ->    sends 2 ->
//     1     sends 2 ->    sends 3 ->    sends 0 ->    sends 1 ->      (what came in, with its own added)
//     2     sends 1 ->    sends 2 ->    sends 3 ->    sends 0 ->
//
// In the gather phase complete parts go round the same way.

int wrap(int i, int size) { return ((i % size) + size) % size; }

void reduce_phase(Plan& plan, int rank, const Parts& parts, Buffer data, std::int64_t piece) {
  const int size = parts.size(), next = wrap(rank + 1, size), previous = wrap(rank - 1, size);
  struct Round {
    std::vector<Slice> out, in;
  };
  std::vector<Round> rounds;
  std::vector<Slice> arriving;  // pieces of all rounds in order; the i-th lands in scratch slot i % 2
  std::int64_t slot = 0;
  for (int k = 0; k < size - 1; ++k) {
    rounds.push_back({pieces(parts.slice(data, wrap(rank - 1 - k, size)), piece),
                      pieces(parts.slice(data, wrap(rank - 2 - k, size)), piece)});
    for (const Slice& s : rounds.back().in) {
      arriving.push_back(s);
      slot = std::max(slot, s.count);
    }
  }
  const auto landing = [&](std::size_t i) {
    return Slice{Buffer::kScratch, static_cast<std::int64_t>(i % 2) * slot, arriving[i].count};
  };
  std::size_t posted = 0, added = 0;
  const auto post_up_to = [&](std::size_t end) {
    for (; posted < std::min(end, arriving.size()); ++posted) plan.receive(previous, landing(posted));
  };
  for (const Round& round : rounds)
    for (std::size_t i = 0; i < std::max(round.out.size(), round.in.size()); ++i) {
      post_up_to(added + 2);  // one piece ahead of the one being added up
      if (i < round.out.size()) plan.send(next, round.out[i]);
      if (i < round.in.size()) {
        plan.reduce(round.in[i], landing(added));
        ++added;
      }
    }
}

void gather_phase(Plan& plan, int rank, const Parts& parts, std::int64_t piece) {
  const int size = parts.size(), next = wrap(rank + 1, size), previous = wrap(rank - 1, size);
  for (int k = 0; k < size - 1; ++k) {
    const auto out = pieces(parts.slice(Buffer::kOutput, wrap(rank - k, size)), piece);
    const auto in = pieces(parts.slice(Buffer::kOutput, wrap(rank - 1 - k, size)), piece);
    for (std::size_t i = 0; i < std::max(out.size(), in.size()); ++i) {
      if (i < in.size()) plan.receive(previous, in[i]);
      if (i < out.size()) plan.send(next, out[i]);
    }
  }
}

}  // namespace

Plan ring_all_reduce(int rank, int size, std::int64_t count, std::int64_t piece) {
  Plan plan{.name = "ring all-reduce", .steps = {}};
  const Parts parts = Parts::even(count, size);
  reduce_phase(plan, rank, parts, Buffer::kOutput, piece);
  gather_phase(plan, rank, parts, piece);
  return std::move(plan).finish();
}

Plan ring_reduce_scatter(int rank, const Parts& parts, std::int64_t piece) {
  Plan plan{.name = "ring reduce-scatter", .steps = {}};
  reduce_phase(plan, rank, parts, Buffer::kInput, piece);
  plan.copy({Buffer::kOutput, 0, parts.count(rank)}, parts.slice(Buffer::kInput, rank));
  return std::move(plan).finish();
}

Plan ring_all_gather(int rank, const Parts& parts, std::int64_t piece) {
  Plan plan{.name = "ring all-gather", .steps = {}};
  plan.copy(parts.slice(Buffer::kOutput, rank), {Buffer::kInput, 0, parts.count(rank)});
  gather_phase(plan, rank, parts, piece);
  return std::move(plan).finish();
}

}  // namespace banyan::comm
