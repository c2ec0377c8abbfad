#include "comm/plans/direct.hpp"

#include <algorithm>

namespace banyan::comm {
namespace {

// All other ranks, starting behind this one so that not everybody turns to rank 0 first.
std::vector<int> others(int rank, int size) {
  std::vector<int> list;
  for (int k = 1; k < size; ++k) list.push_back((rank + k) % size);
  return list;
}

// What everybody contributes, in rank order.
std::vector<Operand> everybodys(int rank, int size, Slice own) {
  std::vector<Operand> operands;
  for (int r = 0; r < size; ++r) operands.push_back(r == rank ? Operand{.slice = own} : Operand{.peer = r});
  return operands;
}

std::vector<std::vector<Slice>> cut_parts(const Parts& parts, Buffer buffer, std::int64_t piece) {
  std::vector<std::vector<Slice>> cut;
  for (int r = 0; r < parts.size(); ++r) cut.push_back(pieces(parts.slice(buffer, r), piece));
  return cut;
}

std::size_t most_pieces(const std::vector<std::vector<Slice>>& cut) {
  std::size_t most = 0;
  for (const auto& c : cut) most = std::max(most, c.size());
  return most;
}

// Every rank shows the parts it does not own to their owners and adds up the one it owns, piece by piece: from `data`
// (all parts) to `out` (own part).  With `spread`, finished pieces are shown to all, who take them to their place in
// `data`.
//
// Piece i+1 is shown before piece i is added up, and piece i-1 is taken after that: nobody waits for what was made
// known only now.  Of no rank more than 2 p + 2 pieces are known and not yet taken.
void reduce_own_part(Plan& plan, int rank, const Parts& parts, Buffer data, Slice out, std::int64_t piece,
                     bool spread) {
  const int size = parts.size();
  const auto cut = cut_parts(parts, data, piece);
  const auto& mine = cut[static_cast<std::size_t>(rank)];
  const auto around = others(rank, size);
  const auto show = [&](std::size_t i) {
    for (int r : around)
      if (const auto& theirs = cut[static_cast<std::size_t>(r)]; i < theirs.size()) plan.publish({r}, theirs[i]);
  };
  const auto take = [&](std::size_t i) {
    for (int r : around)
      if (const auto& theirs = cut[static_cast<std::size_t>(r)]; i < theirs.size())
        plan.fold(theirs[i], {Operand{.peer = r}});
  };
  const std::size_t most = most_pieces(cut);
  show(0);
  for (std::size_t i = 0; i < most; ++i) {
    show(i + 1);
    if (i < mine.size()) {
      const Slice sum{out.buffer, out.begin + (mine[i].begin - parts.begin(rank)), mine[i].count};
      plan.fold(sum, everybodys(rank, size, mine[i]));
      if (spread) plan.publish(around, sum);
    }
    if (spread && i > 0) take(i - 1);
  }
  if (spread && most > 0) take(most - 1);
}

}  // namespace

Plan direct_all_reduce_one_round(int rank, int size, std::int64_t count, std::int64_t piece) {
  Plan plan{.name = "direct all-reduce, one round", .steps = {}, .symmetric = true};
  if (size == 1) return plan;
  const auto cut = pieces({Buffer::kOutput, 0, count}, piece);
  for (std::size_t i = 0; i <= cut.size(); ++i) {
    if (i < cut.size()) plan.publish(others(rank, size), cut[i]);
    if (i > 0) plan.fold(cut[i - 1], everybodys(rank, size, cut[i - 1]));
  }
  return plan;
}

Plan direct_all_reduce(int rank, int size, std::int64_t count, std::int64_t piece) {
  Plan plan{.name = "direct all-reduce", .steps = {}, .symmetric = true};
  if (size == 1) return plan;
  const Parts parts = Parts::even(count, size);
  reduce_own_part(plan, rank, parts, Buffer::kOutput, parts.slice(Buffer::kOutput, rank), piece, true);
  return plan;
}

Plan direct_reduce_scatter(int rank, const Parts& parts, std::int64_t piece) {
  Plan plan{.name = "direct reduce-scatter", .steps = {}, .symmetric = true};
  const Slice out{Buffer::kOutput, 0, parts.count(rank)};
  if (parts.size() == 1)
    plan.copy(out, parts.slice(Buffer::kInput, 0));
  else
    reduce_own_part(plan, rank, parts, Buffer::kInput, out, piece, false);
  return plan;
}

Plan direct_all_gather(int rank, const Parts& parts, std::int64_t piece) {
  Plan plan{.name = "direct all-gather", .steps = {}, .symmetric = true};
  const auto cut = cut_parts(parts, Buffer::kOutput, piece);
  const auto around = others(rank, parts.size());
  const auto mine = pieces({Buffer::kInput, 0, parts.count(rank)}, piece);
  // What is copied to its own place is still in the cache when it is shown.
  const auto& place = cut[static_cast<std::size_t>(rank)];
  const auto show = [&](std::size_t i) {
    if (i >= mine.size()) return;
    plan.copy(place[i], mine[i]);
    if (!around.empty()) plan.publish(around, mine[i]);
  };
  show(0);
  for (std::size_t i = 0; i < most_pieces(cut); ++i) {
    show(i + 1);
    for (int r : around)
      if (const auto& theirs = cut[static_cast<std::size_t>(r)]; i < theirs.size())
        plan.fold(theirs[i], {Operand{.peer = r}});
  }
  return plan;
}

Plan direct_broadcast(int rank, int size, std::int64_t count, int root, std::int64_t piece) {
  Plan plan{.name = "direct broadcast", .steps = {}};
  if (size == 1) return plan;
  for (const Slice& s : pieces({Buffer::kOutput, 0, count}, piece))
    if (rank == root)
      plan.publish(others(rank, size), s);
    else
      plan.fold(s, {Operand{.peer = root}});
  return plan;
}

Plan direct_barrier(int rank, int size) {
  Plan plan{.name = "direct barrier", .steps = {}};
  if (size == 1) return plan;
  const Slice nothing{Buffer::kScratch, 0, 0};
  plan.publish(others(rank, size), nothing);
  for (int r : others(rank, size)) plan.fold(nothing, {Operand{.peer = r}});
  return plan;
}

Plan direct_all_to_all(int rank, const Parts& in, const Parts& out, std::int64_t piece) {
  Plan plan{.name = "direct all-to-all", .steps = {}, .symmetric = true};
  const int size = in.size();
  const auto around = others(rank, size);
  const auto cut = [&](Slice s) { return s.count == 0 ? std::vector<Slice>{s} : pieces(s, piece); };
  std::vector<std::vector<Slice>> going, coming;
  for (int r = 0; r < size; ++r) {
    going.push_back(cut(in.slice(Buffer::kInput, r)));
    coming.push_back(cut(out.slice(Buffer::kOutput, r)));
  }
  // How many pieces go between two others nobody else knows, so each pair is done with one piece a turn.
  const std::size_t most = std::max(most_pieces(going), most_pieces(coming));
  const auto show = [&](std::size_t i) {
    for (int r : around)
      if (const auto& g = going[static_cast<std::size_t>(r)]; i < g.size()) plan.publish({r}, g[i]);
  };
  show(0);
  plan.copy(out.slice(Buffer::kOutput, rank), in.slice(Buffer::kInput, rank));
  for (std::size_t i = 0; i < most; ++i) {
    for (auto r = around.rbegin(); r != around.rend(); ++r)  // who turned to this rank first
      if (const auto& c = coming[static_cast<std::size_t>(*r)]; i < c.size()) plan.fold(c[i], {Operand{.peer = *r}});
    show(i + 1);
  }
  return plan;
}

}  // namespace banyan::comm
