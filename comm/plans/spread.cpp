#include "comm/plans/spread.hpp"

namespace banyan::comm {

Plan dissemination_barrier(int rank, int size) {
  Plan plan{.name = "dissemination barrier", .steps = {}};
  for (int distance = 1; distance < size; distance *= 2) {
    const int before = static_cast<int>(plan.steps.size()) - 2;  // the receive of the round before
    plan.receive((rank - distance + size) % size, {Buffer::kScratch, 0, 0});
    plan.send((rank + distance) % size, {Buffer::kScratch, 0, 0});
    if (before >= 0) plan.steps.back().needs.push_back(before);
  }
  return std::move(plan).finish();
}

Plan pairwise_all_to_all(int rank, const Parts& in, const Parts& out, std::int64_t message) {
  constexpr int kWindow = 16;  // partners at a time
  Plan plan{.name = "pairwise all-to-all", .steps = {}};
  const int size = in.size();
  const auto cut = [&](const Slice& s) { return s.count == 0 ? std::vector<Slice>{s} : pieces(s, message); };
  plan.copy(out.slice(Buffer::kOutput, rank), in.slice(Buffer::kInput, rank));
  std::vector<std::vector<int>> rounds{{}};  // steps of each
  for (int k = 1; k < size; ++k) {
    const int from = (rank - k + size) % size, to = (rank + k) % size;
    const std::size_t first = plan.steps.size();
    for (const Slice& s : cut(out.slice(Buffer::kOutput, from))) plan.receive(from, s);
    for (const Slice& s : cut(in.slice(Buffer::kInput, to))) plan.send(to, s);
    if (k > kWindow) plan.steps[first].needs = rounds[static_cast<std::size_t>(k - kWindow)];
    rounds.emplace_back();
    for (std::size_t i = first; i < plan.steps.size(); ++i) rounds.back().push_back(static_cast<int>(i));
  }
  return std::move(plan).finish();
}

}  // namespace banyan::comm
