#include "comm/wait_graph.hpp"

#include <algorithm>
#include <vector>

namespace banyan::comm {
namespace {

constexpr int kBranches = 8;

// From a to b along the tree, a left out.
std::vector<int> path(int a, int b) {
  std::vector<int> up_from_a{a}, up_from_b{b};
  while (up_from_a.back() > 0) up_from_a.push_back(upper_rank(up_from_a.back()));
  while (up_from_b.back() > 0) up_from_b.push_back(upper_rank(up_from_b.back()));
  // What both have in common is above where they meet.
  while (up_from_a.size() > 1 && up_from_b.size() > 1 &&
         up_from_a[up_from_a.size() - 2] == up_from_b[up_from_b.size() - 2])
    up_from_a.pop_back(), up_from_b.pop_back();
  std::vector<int> result(up_from_a.begin() + 1, up_from_a.end());
  if (!up_from_b.empty()) up_from_b.pop_back();  // where they meet is there already, or is a itself
  result.insert(result.end(), up_from_b.rbegin(), up_from_b.rend());
  return result;
}

}  // namespace

int upper_rank(int rank) { return rank == 0 ? -1 : (rank - 1) / kBranches; }

int culprit(const WaitGraph& graph, int self, int waited) {
  std::set<int> seen{self};
  int end = waited;
  while (seen.insert(end).second) {
    const auto next = graph.waits_for.find(end);
    if (next == graph.waits_for.end()) {
      for (int r : path(self, end))
        if (graph.silent.count(r)) return r;
      return end;
    }
    end = next->second;
  }
  return waited;
}

}  // namespace banyan::comm
