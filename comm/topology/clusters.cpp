#include "comm/topology/clusters.hpp"

#include <algorithm>
#include <cstddef>
#include <tuple>

#include "comm/topology/disjoint_sets.hpp"

namespace banyan::comm {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

/// Numbers of the sets that things are in, by first appearance.
std::vector<int> numbers_of(DisjointSets& sets, int things) {
  std::vector<int> number(at(things), -1), of;
  int next = 0;
  for (int i = 0; i < things; ++i) {
    int& n = number[at(sets.find(i))];
    if (n < 0) n = next++;
    of.push_back(n);
  }
  return of;
}

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
  DisjointSets sets(at(things));
  double longest = 0;
  for (const Distant& p : pairs) {
    if (sets.find(p.a) == sets.find(p.b)) continue;
    if (longest > 0 && p.distance >= gap * longest) {
      std::vector<int> level = numbers_of(sets, things);
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
