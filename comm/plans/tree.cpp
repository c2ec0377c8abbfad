#include "comm/plans/tree.hpp"

#include <algorithm>

#include "comm/plans/to_messages.hpp"

namespace banyan::comm {
namespace {

constexpr std::size_t kLag = 4;  // pieces on their way up and down before a rank waits for the first to come back

}  // namespace

// Eight ranks, numbered from the root:
//
//        0
//      / | \.
//     4  2  1
//    / \ |
//   6  5 3
//   |
//   7
Branch binomial_branch(int rank, int size, int root) {
  const int place = (rank - root + size) % size;
  const auto rank_of = [&](int p) { return (p + root) % size; };
  const int low_bit = place == 0 ? size : place & -place;
  Branch branch;
  if (place != 0) branch.parent = rank_of(place - low_bit);
  for (int bit = 1; bit < low_bit && place + bit < size; bit *= 2) branch.children.push_back(rank_of(place + bit));
  std::reverse(branch.children.begin(), branch.children.end());  // deepest subtree first
  return branch;
}

Branch bine_branch(int rank, int size, int root) {
  int power = 1, steps = 0;
  for (; power * 2 <= size; power *= 2) ++steps;
  const auto rank_of = [&](int p) { return (p + root) % size; };
  const int place = (rank - root + size) % size;
  std::vector<Branch> branches(static_cast<std::size_t>(power));
  std::vector<int> reached{0};
  for (int k = steps - 1; k >= 0; --k) {
    int distance = 0;  // 1 - 2 + 4 - ... +- 2^k
    for (int i = 0; i <= k; ++i) distance += i % 2 == 0 ? 1 << i : -(1 << i);
    for (std::size_t i = 0, before = reached.size(); i < before; ++i) {
      const int from = reached[i];
      const int to = ((from % 2 == 0 ? from + distance : from - distance) % power + power) % power;
      branches[static_cast<std::size_t>(from)].children.push_back(to);
      branches[static_cast<std::size_t>(to)].parent = from;
      reached.push_back(to);
    }
  }
  Branch branch;
  if (place >= power) {
    branch.parent = rank_of(place - power);
    return branch;
  }
  const Branch& found = branches[static_cast<std::size_t>(place)];
  if (place != 0) branch.parent = rank_of(found.parent);
  for (int child : found.children) branch.children.push_back(rank_of(child));
  if (place + power < size) branch.children.push_back(rank_of(place + power));
  return branch;
}

Branch hierarchical_branch(const MemberTree& tree, int rank, int root) {
  Branch branch;
  const MemberTree* place = &tree;
  int entry = root;  // where the data comes into `place`
  while (!place->parts.empty()) {
    // The first member of each part, those of the entry's own part first.
    std::vector<int> heads;
    const MemberTree* mine = nullptr;
    int my_head = 0;
    const auto own = std::find_if(place->parts.begin(), place->parts.end(), [&](auto& p) { return p.has(entry); });
    const auto parts = static_cast<int>(place->parts.size());
    const int first = static_cast<int>(own - place->parts.begin());
    int my_turn = -1;
    for (int i = 0; i < parts; ++i) {
      const MemberTree& part = place->parts[static_cast<std::size_t>((first + i) % parts)];
      heads.push_back(i == 0 ? entry : part.members.front());
      if (!part.has(rank)) continue;
      mine = &part;
      my_head = heads.back();
      my_turn = i;
    }
    if (rank == my_head) {
      const Branch among = binomial_branch(my_turn, parts, 0);
      if (among.parent >= 0) branch.parent = heads[static_cast<std::size_t>(among.parent)];
      for (int child : among.children) branch.children.push_back(heads[static_cast<std::size_t>(child)]);
    }
    place = mine;
    entry = my_head;
  }
  return branch;
}

Plan broadcast_along(const Branch& branch, std::int64_t count, std::int64_t piece) {
  Plan plan{.name = "broadcast along a tree", .steps = {}};
  const auto all = pieces({Buffer::kOutput, 0, count}, piece);
  std::size_t posted = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (branch.parent >= 0)
      for (; posted < std::min(i + 2, all.size()); ++posted) plan.receive(branch.parent, all[posted]);
    for (int child : branch.children) plan.send(child, all[i]);
  }
  return std::move(plan).finish();
}

Plan all_reduce_along(const Branch& branch, std::int64_t count, std::int64_t piece) {
  Plan plan{.name = "all-reduce along a tree", .steps = {}};
  const auto all = pieces({Buffer::kOutput, 0, count}, piece);
  for (std::size_t i = 0; i < all.size() + kLag; ++i) {
    if (i < all.size()) {
      std::vector<Operand> terms{{.slice = all[i]}};
      for (int child : branch.children) terms.push_back({.peer = child});
      if (terms.size() > 1) plan.fold(all[i], std::move(terms));
      if (branch.parent >= 0) plan.publish({branch.parent}, all[i]);
    }
    // The root has no one to wait for.
    const std::size_t lag = branch.parent >= 0 ? kLag : 0;
    if (i < lag || i - lag >= all.size()) continue;
    if (branch.parent >= 0) plan.fold(all[i - lag], {{.peer = branch.parent}});
    if (!branch.children.empty()) plan.publish(branch.children, all[i - lag]);
  }
  return to_messages(std::move(plan));
}

}  // namespace banyan::comm
