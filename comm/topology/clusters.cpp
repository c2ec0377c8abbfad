#include "comm/topology/clusters.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <tuple>

namespace banyan::comm {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

class Sets {
 public:
  explicit Sets(int things) : parent_(at(things)) { std::iota(parent_.begin(), parent_.end(), 0); }
  int find(int i) {
    while (parent_[at(i)] != i) i = parent_[at(i)] = parent_[at(parent_[at(i)])];
    return i;
  }
  bool join(int a, int b) {
    a = find(a);
    b = find(b);
    parent_[at(std::max(a, b))] = std::min(a, b);
    return a != b;
  }
  std::vector<int> numbers() {
    std::vector<int> number(parent_.size(), -1), of(parent_.size());
    int next = 0;
    for (std::size_t i = 0; i < parent_.size(); ++i) {
      int& n = number[at(find(static_cast<int>(i)))];
      if (n < 0) n = next++;
      of[i] = n;
    }
    return of;
  }

 private:
  std::vector<int> parent_;
};

/// Whether at least two clusters have company.
bool divides(const std::vector<int>& cluster_of) {
  std::vector<int> members(cluster_of.size());
  for (int c : cluster_of) ++members[at(c)];
  return std::count_if(members.begin(), members.end(), [](int n) { return n > 1; }) > 1;
}

}  // namespace

Clusters cluster(int things, std::vector<Distant> pairs, double gap) {
  std::sort(pairs.begin(), pairs.end(), [](const Distant& x, const Distant& y) {
    return std::tie(x.distance, x.a, x.b) < std::tie(y.distance, y.a, y.b);
  });
  Clusters result;
  Sets sets(things);
  double longest = 0;
  for (const Distant& p : pairs) {
    if (sets.find(p.a) == sets.find(p.b)) continue;
    if (longest > 0 && p.distance >= gap * longest) {
      std::vector<int> level = sets.numbers();
      if (divides(level)) {
        result.levels.push_back(std::move(level));
        result.gaps.push_back(p.distance / longest);
      }
    }
    sets.join(p.a, p.b);
    longest = std::max(longest, p.distance);
  }
  return result;
}

}  // namespace banyan::comm
