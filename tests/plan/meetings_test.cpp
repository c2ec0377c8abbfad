#include "src/plan/meetings.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "comm/group_tree.hpp"

namespace banyan::plan {
namespace {

using Pairs = std::map<std::pair<int, int>, double>;

// What members send each other in the plans that run, by sender and receiver.
Pairs sent_in_plans(const comm::GroupTree& tree, int size, std::int64_t count) {
  comm::Call call;
  call.size = size;
  call.counts = {count};
  Pairs sent;
  for (int rank = 0; rank < size; ++rank)
    for (const comm::Step& step : comm::make_plan({"hierarchical", std::int64_t{1} << 60}, call, tree, rank).steps)
      if (step.kind == comm::Step::Kind::kSend) sent[{rank, step.peer}] += static_cast<double>(step.source.count);
  return sent;
}

TEST(Meetings, AreThoseOfThePlansThatRun) {
  constexpr std::int64_t kCount = std::int64_t{840} * 840 * 840 * 840;
  std::mt19937 random(11);
  for (int round = 0; round < 60; ++round) {
    const int size = 2 + static_cast<int>(random() % 20), nodes = 1 + static_cast<int>(random() % 12);
    std::vector<int> node, leaf;
    for (int m = 0; m < size; ++m) {
      node.push_back(static_cast<int>(random() % static_cast<unsigned>(nodes)));
      leaf.push_back(node.back() % 3);
    }
    const comm::GroupTree tree = comm::make_tree(node, leaf);
    const Pairs sent = sent_in_plans(tree, size, kCount);
    Pairs met;
    double all = 0;
    for (const std::vector<Meeting>& phase : meetings_of(tree, size))
      for (const Meeting& m : phase) {
        EXPECT_NE(m.a, m.b);
        met[{m.a, m.b}] += m.share * kCount;
        met[{m.b, m.a}] += m.share * kCount;
        all += 2 * m.share;
      }
    EXPECT_EQ(met.size(), sent.size()) << "round " << round;
    for (const auto& [pair, elements] : sent)
      EXPECT_NEAR(met[pair] / kCount, elements / kCount, 1e-9)
          << "from " << pair.first << " to " << pair.second << " of " << size;
    EXPECT_NEAR(all, 2 * (size - 1), 1e-6) << "each but one passes on all there is, twice";
  }
}

TEST(Meetings, OfOneMemberAreNone) { EXPECT_TRUE(meetings_of({}, 1).empty()); }

}  // namespace
}  // namespace banyan::plan
