#include "src/job/partners.hpp"

#include <algorithm>
#include <cstddef>
#include <map>
#include <numeric>
#include <tuple>

namespace banyan::job {
namespace {

std::size_t at(int i) { return static_cast<std::size_t>(i); }

}  // namespace

std::vector<int> node_partners(const std::vector<int>& leaf) {
  const std::size_t nodes = leaf.size();
  std::vector<int> to(nodes, -1);
  if (nodes < 2) return to;
  std::map<int, std::size_t> size;
  for (const int l : leaf) ++size[l];
  std::vector<int> order(nodes);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    return std::tuple(size[leaf[at(b)]], leaf[at(a)], a) < std::tuple(size[leaf[at(a)]], leaf[at(b)], b);
  });
  const std::size_t largest = size[leaf[at(order[0])]];
  // Neighbours below one switch may share a rack's power: half way around is as far as one gets.
  const std::size_t shift = largest == nodes ? nodes / 2 : largest;
  for (std::size_t i = 0; i < nodes; ++i) to[at(order[i])] = order[(i + shift) % nodes];
  return to;
}

std::vector<int> rank_partners(const std::vector<int>& node, const std::vector<int>& leaf) {
  std::vector<std::vector<int>> ranks(leaf.size());
  for (std::size_t r = 0; r < node.size(); ++r) ranks[at(node[r])].push_back(static_cast<int>(r));
  const std::vector<int> partner = node_partners(leaf);
  std::vector<int> to(node.size(), -1);
  for (std::size_t n = 0; n < ranks.size(); ++n) {
    if (partner[n] < 0) continue;
    const std::vector<int>& there = ranks[at(partner[n])];
    for (std::size_t i = 0; i < ranks[n].size(); ++i) to[at(ranks[n][i])] = there[i % there.size()];
  }
  return to;
}

}  // namespace banyan::job
