// Sets of things numbered 0 .. n-1 that are joined one by one (R. Tarjan, "Efficiency of a Good But Not Linear Set
// Union Algorithm", JACM 22, 1975, with path halving).  The lowest member stands for its set.
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

namespace banyan::comm {

class DisjointSets {
 public:
  explicit DisjointSets(std::size_t things) : parent_(things) { part(); }
  /// Everything alone again.
  void part() { std::iota(parent_.begin(), parent_.end(), 0); }
  int find(int i) {
    while (at(i) != i) i = at(i) = at(at(i));
    return i;
  }
  void join(int a, int b) {
    a = find(a);
    b = find(b);
    at(std::max(a, b)) = std::min(a, b);
  }

 private:
  int& at(int i) { return parent_[static_cast<std::size_t>(i)]; }
  std::vector<int> parent_;
};

}  // namespace banyan::comm
