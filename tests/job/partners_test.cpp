#include "src/job/partners.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>

namespace banyan::job {
namespace {

using Ints = std::vector<int>;

TEST(Partners, OneNodeHasNone) {
  EXPECT_EQ(node_partners({}), Ints{});
  EXPECT_EQ(node_partners({3}), Ints{-1});
  EXPECT_EQ(rank_partners({0, 0}, {0}), (Ints{-1, -1}));
}

TEST(Partners, Examples) {
  EXPECT_EQ(node_partners({0, 0}), (Ints{1, 0}));
  EXPECT_EQ(node_partners({0, 0, 1, 1}), (Ints{2, 3, 0, 1}));
  EXPECT_EQ(node_partners({0, 1, 0, 1}), (Ints{1, 0, 3, 2}));
  EXPECT_EQ(node_partners({0, 0, 0, 1, 1, 2}), (Ints{3, 4, 5, 0, 1, 2}));
  EXPECT_EQ(node_partners({5, 5, 5, 5}), (Ints{2, 3, 0, 1}));
  // Two ranks on each node of the first leaf, one on that of the second.
  EXPECT_EQ(rank_partners({0, 0, 1}, {0, 1}), (Ints{2, 2, 0}));
  EXPECT_EQ(rank_partners({0, 1, 0, 1}, {0, 1}), (Ints{1, 0, 3, 2}));
}

RC_GTEST_PROP(Partners, EveryNodeKeepsOneCopyOfAnotherAndOtherLeavesAreUsedWherePossible, ()) {
  const int nodes = *rc::gen::inRange(2, 60);
  const auto leaf = *rc::gen::container<Ints>(static_cast<std::size_t>(nodes), rc::gen::inRange(0, 6));
  const Ints to = node_partners(leaf);
  RC_ASSERT(to == node_partners(leaf));
  Ints sorted = to;
  std::sort(sorted.begin(), sorted.end());
  std::map<int, int> size;
  int inside = 0, largest = 0;
  for (int n = 0; n < nodes; ++n) {
    const auto i = static_cast<std::size_t>(n);
    RC_ASSERT(sorted[i] == n);  // a permutation: balanced
    RC_ASSERT(to[i] != n);
    inside += leaf[i] == leaf[static_cast<std::size_t>(to[i])];
    largest = std::max(largest, ++size[leaf[i]]);
  }
  // Of a leaf with more than half of the nodes, as many stay inside as find no place outside.
  RC_ASSERT(inside == std::max(0, 2 * largest - nodes));
}

RC_GTEST_PROP(Partners, RanksSendToThePartnerOfTheirNodeInTurn, ()) {
  const int nodes = *rc::gen::inRange(2, 12);
  const auto leaf = *rc::gen::container<Ints>(static_cast<std::size_t>(nodes), rc::gen::inRange(0, 3));
  Ints node;
  for (int n = 0; n < nodes; ++n) node.insert(node.end(), static_cast<std::size_t>(*rc::gen::inRange(1, 5)), n);
  const Ints to = rank_partners(node, leaf), partner = node_partners(leaf);
  std::map<int, int> sources;
  for (std::size_t r = 0; r < node.size(); ++r) {
    RC_ASSERT(to[r] >= 0);
    RC_ASSERT(node[static_cast<std::size_t>(to[r])] == partner[static_cast<std::size_t>(node[r])]);
    ++sources[to[r]];
  }
  for (std::size_t r = 0; r < node.size(); ++r) {
    const auto ranks_of = [&](int n) { return static_cast<int>(std::count(node.begin(), node.end(), n)); };
    const auto from = std::find(partner.begin(), partner.end(), node[r]) - partner.begin();
    const int mine = ranks_of(node[r]), theirs = ranks_of(static_cast<int>(from));
    RC_ASSERT(sources[static_cast<int>(r)] <= (theirs + mine - 1) / mine);
  }
}

}  // namespace
}  // namespace banyan::job
