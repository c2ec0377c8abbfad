// Who is to blame, for every place of the culprit.
#include "comm/wait_graph.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

namespace banyan::comm {
namespace {

TEST(WaitGraph, TheOneThatNobodyHeardOf) {
  EXPECT_EQ(culprit({}, 0, 3), 3);
  EXPECT_EQ(culprit({.waits_for = {{3, 2}}, .silent = {}}, 0, 3), 2);
  EXPECT_EQ(culprit({.waits_for = {{3, 2}, {2, 5}, {7, 5}}, .silent = {}}, 0, 3), 5);
}

TEST(WaitGraph, ACircleIsBlamedOnTheNext) {
  EXPECT_EQ(culprit({.waits_for = {{3, 0}}, .silent = {}}, 0, 3), 3);
  EXPECT_EQ(culprit({.waits_for = {{3, 2}, {2, 3}}, .silent = {}}, 0, 3), 3);
}

TEST(WaitGraph, WhoseWordsCannotComeIsNotToBlame) {
  // 20 sits below 2, which sits below 0.
  EXPECT_EQ(culprit({.waits_for = {}, .silent = {2}}, 5, 20), 2);
  EXPECT_EQ(culprit({.waits_for = {}, .silent = {0}}, 5, 20), 0);
  EXPECT_EQ(culprit({.waits_for = {}, .silent = {3}}, 5, 20), 20);
  EXPECT_EQ(culprit({.waits_for = {}, .silent = {0}}, 5, 6), 0);
  EXPECT_EQ(culprit({.waits_for = {}, .silent = {2}}, 20, 5), 2);
}

// One rank stopped; everybody else waits for somebody in a way that leads to it, and says so as far as words get: not
// past the stopped one, whose neighbours find it silent.
RC_GTEST_PROP(WaitGraph, FindsTheOneThatStopped, ()) {
  const int size = *rc::gen::inRange(2, 200);
  const int stopped = *rc::gen::inRange(0, size);
  const auto side = [&](int r) {  // which part of the tree, cut at the stopped rank
    int child = r;
    while (child >= 0 && child != stopped) {
      if (upper_rank(child) == stopped) return child;
      child = upper_rank(child);
    }
    return child;
  };
  std::map<int, int> waits_for;
  // In some order, each waits for one that comes before it.
  const auto shuffle = *rc::gen::container<std::vector<int>>(static_cast<std::size_t>(size), rc::gen::arbitrary<int>());
  std::vector<int> order;
  for (int r = 0; r < size; ++r)
    if (r != stopped) order.push_back(r);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    return std::pair(shuffle[static_cast<std::size_t>(a)], a) < std::pair(shuffle[static_cast<std::size_t>(b)], b);
  });
  order.insert(order.begin(), stopped);
  for (std::size_t i = 1; i < order.size(); ++i)
    waits_for[order[i]] = order[static_cast<std::size_t>(*rc::gen::inRange(0, static_cast<int>(i)))];
  for (int self = 0; self < size; ++self) {
    if (self == stopped) continue;
    WaitGraph heard{.waits_for = {}, .silent = {stopped}};
    for (const auto& [who, whom] : waits_for)
      if (who != self && side(who) == side(self)) heard.waits_for[who] = whom;
    RC_ASSERT(culprit(heard, self, waits_for[self]) == stopped);
  }
}

}  // namespace
}  // namespace banyan::comm
