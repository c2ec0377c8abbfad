// Every plan for every rank count up to 64; and the verifier finds what is wrong with damaged plans.
#include "comm/plan_verifier.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>
#include <utility>

#include "comm/plans/catalog.hpp"
#include "comm/plans/direct.hpp"
#include "comm/plans/ring.hpp"
#include "comm/plans/to_messages.hpp"
#include "comm/plans/tree.hpp"
#include "src/base/rng.hpp"

namespace banyan::comm {
namespace {

constexpr int kMaxRanks = 64;
constexpr int kMostDirect = 24;  // meant for few ranks

std::vector<Plan> all_ranks(int size, const std::function<Plan(int)>& plan) {
  std::vector<Plan> plans;
  for (int r = 0; r < size; ++r) plans.push_back(plan(r));
  return plans;
}

std::int64_t most_sent(const std::vector<Plan>& plans) {
  std::int64_t most = 0;
  for (const Plan& p : plans) most = std::max(most, sent_elements(p));
  return most;
}

// Zeros, ones and more, so that pieces of 3 elements cut some parts and not others.
std::vector<std::int64_t> uneven(int size) {
  std::vector<std::int64_t> counts;
  for (int i = 0; i < size; ++i) counts.push_back((i * 5 + 2) % 8);
  return counts;
}

// Plans of all ranks in the form that publishes and folds, if they have one, and in messages: both right, both alike.
std::string verify_both(const Collective& collective, const std::vector<Plan>& plans) {
  std::vector<Plan> messages;
  for (const Plan& p : plans) messages.push_back(to_messages(p));
  for (const Plan& p : messages)
    if (p.folds()) return p.name + ": a step is not in terms of messages";
  return verify_same(collective, plans, messages);
}

// A call as `rank` sees it.
Call call_of(const Collective& c, int size, int rank) {
  Call call{.kind = c.kind, .size = size, .counts = c.counts, .in_counts = {}, .root = c.root, .element_bytes = 4096};
  if (c.kind != CollectiveKind::kAllToAll) return call;
  call.in_counts = c.to[static_cast<std::size_t>(rank)];
  for (const auto& row : c.to) call.counts.push_back(row[static_cast<std::size_t>(rank)]);
  return call;
}

// Sizes on both sides of every limit: nothing, one, fewer than ranks, uneven; one round and more.
std::vector<Collective> collectives(CollectiveKind kind, int p) {
  std::vector<Collective> list;
  switch (kind) {
    case CollectiveKind::kAllReduce:
      for (std::int64_t n : {0, 1, 4, p - 1, 2 * p + 3}) list.push_back({.kind = kind, .counts = {n}, .to = {}});
      if (p <= 12) list.push_back({.kind = kind, .counts = {9 * p + 4}, .to = {}});  // many pieces
      break;
    case CollectiveKind::kReduceScatter:
    case CollectiveKind::kAllGather:
      for (bool aliased : {false, true})
        list.push_back({.kind = kind, .counts = uneven(p), .to = {}, .aliased = aliased});
      break;
    case CollectiveKind::kBroadcast:
      for (int root : {0, p / 2, p - 1}) list.push_back({.kind = kind, .counts = {7}, .to = {}, .root = root});
      break;
    case CollectiveKind::kBarrier:
      list.push_back({.kind = kind, .counts = {}, .to = {}});
      break;
    case CollectiveKind::kAllToAll: {
      Collective c{.kind = kind, .counts = {}, .to = {}};
      for (int i = 0; i < p; ++i) {
        c.to.emplace_back();
        for (int j = 0; j < p; ++j) c.to.back().push_back((i * 3 + j) % 5);
      }
      list.push_back(c);
    }
  }
  return list;
}

class EveryAlgorithm : public testing::TestWithParam<std::pair<CollectiveKind, std::string>> {};

TEST_P(EveryAlgorithm, IsRightForEveryRankCount) {
  const auto& [kind, algorithm] = GetParam();
  const int most = algorithm == "direct" && kind != CollectiveKind::kBarrier ? kMostDirect : kMaxRanks;
  for (int p = 1; p <= most; ++p)
    for (const Collective& c : collectives(kind, p)) {
      SCOPED_TRACE(testing::Message() << p << " ranks, root " << c.root << ", aliased " << c.aliased);
      const Recipe recipe{algorithm, 2 * 4096};
      const auto plans = all_ranks(p, [&](int r) { return make_plan(recipe, call_of(c, p, r), {}, r); });
      EXPECT_EQ(verify_both(c, plans), "");
    }
}

std::vector<std::pair<CollectiveKind, std::string>> every_algorithm() {
  std::vector<std::pair<CollectiveKind, std::string>> list;
  for (int k = 0; k < kCollectiveKinds; ++k)
    for (std::string_view name : algorithms(static_cast<CollectiveKind>(k)))
      list.emplace_back(static_cast<CollectiveKind>(k), name);
  return list;
}

INSTANTIATE_TEST_SUITE_P(Plans, EveryAlgorithm, testing::ValuesIn(every_algorithm()), [](const auto& test) {
  std::string name = std::string(name_of(test.param.first)) + "_" + test.param.second;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(Volume, IsWhatTheFormulasSay) {
  for (int p = 2; p <= kMaxRanks; ++p) {
    SCOPED_TRACE(p);
    const std::int64_t n = 2 * p + 3, part = (n + p - 1) / p;
    EXPECT_LE(most_sent(all_ranks(p, [&](int r) { return ring_all_reduce(r, p, n, 2); })), 2 * (p - 1) * part);
    EXPECT_LE(most_sent(all_ranks(p, [&](int r) { return direct_all_reduce(r, p, n, 1); })), n + (p - 1) * part);
    const auto counts = uneven(p);
    const std::int64_t total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
    EXPECT_LE(most_sent(all_ranks(p, [&](int r) { return ring_reduce_scatter(r, Parts(counts), 3); })), total);
    EXPECT_LE(most_sent(all_ranks(p, [&](int r) { return direct_reduce_scatter(r, Parts(counts), 3); })), total);
    EXPECT_LE(most_sent(all_ranks(p, [&](int r) { return ring_all_gather(r, Parts(counts), 3); })), total);
  }
}

TEST(EveryRankCount, BroadcastFromEveryRoot) {
  for (int p = 1; p <= kMaxRanks; ++p)
    for (int root = 0; root < p; ++root) {
      SCOPED_TRACE(testing::Message() << p << " ranks, root " << root);
      const Collective c{.kind = CollectiveKind::kBroadcast, .counts = {2}, .to = {}, .root = root};
      for (auto* branch : {binomial_branch, bine_branch})
        EXPECT_EQ(verify(c, all_ranks(p, [&](int r) { return broadcast_along(branch(r, p, root), 2, 1); })), "");
    }
}

// Ragged trees, places that cut across each other, members in any order.
GroupTree random_tree(int p, std::uint64_t seed) {
  GroupTree tree;
  for (std::uint64_t level = 0; level < seed % 4; ++level) {
    tree.levels.emplace_back();
    const std::uint64_t places = 1 + rng::mix(seed, level) % static_cast<std::uint64_t>(p);
    for (int m = 0; m < p; ++m)
      tree.levels.back().push_back(
          static_cast<int>(rng::mix(rng::mix(seed, level), static_cast<std::uint64_t>(m)) % places));
  }
  return tree;
}

TEST(AnyTree, EveryHierarchicalPlanIsRight) {
  for (int p = 2; p <= kMaxRanks; p += p < 12 ? 1 : 13)
    for (std::uint64_t seed = 0; seed < (p < 12 ? 16 : 4); ++seed)
      for (int k = 0; k < kCollectiveKinds; ++k) {
        const auto kind = static_cast<CollectiveKind>(k);
        const auto names = algorithms(kind);
        if (std::find(names.begin(), names.end(), "hierarchical") == names.end()) continue;
        const GroupTree tree = random_tree(p, seed);
        for (const Collective& c : collectives(kind, p)) {
          SCOPED_TRACE(testing::Message() << name_of(kind) << ", " << p << " ranks, seed " << seed);
          EXPECT_EQ(verify(c, all_ranks(p,
                                        [&](int r) {
                                          return make_plan({"hierarchical", 2 * 4096}, call_of(c, p, r), tree, r);
                                        })),
                    "");
        }
      }
}

// Beyond the counts that are tried one by one: any number of ranks, of elements, any tree, any root, any piece.
RC_GTEST_PROP(ManyRanks, EveryAlgorithmIsRight, ()) {
  const int p = *rc::gen::inRange(kMaxRanks + 1, 200);
  const auto [kind, algorithm] = *rc::gen::elementOf(every_algorithm());
  RC_PRE(algorithm != "direct" && kind != CollectiveKind::kAllToAll);
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  Collective c{.kind = kind, .counts = {}, .to = {}, .root = static_cast<int>(seed % static_cast<std::uint64_t>(p))};
  const bool parts = kind == CollectiveKind::kReduceScatter || kind == CollectiveKind::kAllGather;
  for (int i = 0; i < (parts ? p : kind == CollectiveKind::kBarrier ? 0 : 1); ++i)
    c.counts.push_back(static_cast<std::int64_t>(rng::mix(seed, static_cast<std::uint64_t>(i)) % (parts ? 4 : 500)));
  const GroupTree tree = random_tree(p, seed);
  const Recipe recipe{algorithm, 4096 * *rc::gen::inRange(1, 40)};
  const auto plans = all_ranks(p, [&](int r) { return make_plan(recipe, call_of(c, p, r), tree, r); });
  RC_ASSERT(verify(c, plans) == "");
}

// 2 leaves of 2 nodes of 2: what leaves a node, and what leaves a leaf.
TEST(AnyTree, TheUpperLinksCarryLeast) {
  const GroupTree tree{{{0, 0, 1, 1, 2, 2, 3, 3}, {0, 0, 0, 0, 1, 1, 1, 1}}};
  const std::int64_t n = 800;
  const Call call{.kind = CollectiveKind::kAllReduce, .size = 8, .counts = {n}};
  for (std::size_t level : {0, 1}) {
    std::vector<std::int64_t> leaves(4);
    for (int r = 0; r < 8; ++r)
      for (const Step& s : make_plan({"hierarchical", 400}, call, tree, r).steps) {
        const auto place = [&](int m) { return tree.levels[level][static_cast<std::size_t>(m)]; };
        if (s.kind == Step::Kind::kSend && place(s.peer) != place(r))
          leaves[static_cast<std::size_t>(place(r))] += s.source.count;
      }
    // A leaf sends its partial sums of one half and the sums of the other; a node that, and the same inside its leaf.
    for (int i = 0; i < (level == 0 ? 4 : 2); ++i)
      EXPECT_EQ(leaves[static_cast<std::size_t>(i)], level == 0 ? n + n / 2 : n);
  }
}

class Damaged : public testing::Test {
 protected:
  const Collective collective{.kind = CollectiveKind::kAllReduce, .counts = {8}, .to = {}};
  std::vector<Plan> plans = all_ranks(4, [](int r) { return ring_all_reduce(r, 4, 8, 2); });
  std::string verdict() const { return verify(collective, plans); }
};

TEST_F(Damaged, MissingStepIsADeadlock) {
  plans[2].steps.pop_back();
  EXPECT_NE(verdict().find("never completes"), std::string::npos) << verdict();
}

TEST_F(Damaged, WrongLengthIsFound) {
  for (Step& s : plans[1].steps)
    if (s.kind == Step::Kind::kSend) {
      s.source.count -= 1;
      break;
    }
  EXPECT_NE(verdict().find("expects"), std::string::npos) << verdict();
}

TEST_F(Damaged, ForgottenContributionIsFound) {
  std::erase_if(plans[3].steps, [](const Step& s) { return s.kind == Step::Kind::kReduce; });
  EXPECT_NE(verdict(), "");
}

TEST_F(Damaged, ForgottenWaitIsFound) {
  for (Step& s : plans[0].steps) s.needs.clear();
  EXPECT_NE(verdict().find("may still use"), std::string::npos) << verdict();
}

TEST_F(Damaged, DifferentOrderOnOneRankIsFound) {
  // Each of two ranks adds what came to its own: x0 + x1 here, x1 + x0 there.
  plans = all_ranks(2, [](int r) {
    Plan plan{.name = "naive exchange", .steps = {}};
    const Slice data{Buffer::kOutput, 0, 8}, theirs{Buffer::kScratch, 0, 8};
    plan.receive(1 - r, theirs);
    plan.send(1 - r, data);
    plan.reduce(data, theirs);
    return std::move(plan).finish();
  });
  EXPECT_NE(verdict().find("different orders"), std::string::npos) << verdict();
}

TEST_F(Damaged, AWindowThatRunsFullIsADeadlock) {
  plans = all_ranks(2, [](int r) {
    Plan plan{.name = "all at once", .steps = {}};
    const Slice data{Buffer::kOutput, 0, 8};
    for (const Slice& s : pieces(data, 1)) plan.publish({1 - r}, s);
    for (const Slice& s : pieces(data, 1))
      plan.fold(s, r == 0 ? std::vector<Operand>{{.slice = s}, {.peer = 1}}
                          : std::vector<Operand>{{.peer = 0}, {.slice = s}});
    return plan;
  });
  EXPECT_NE(verdict().find("never completes"), std::string::npos) << verdict();
}

TEST_F(Damaged, APieceThatNobodyTakesIsFound) {
  plans = all_ranks(4, [](int r) { return direct_all_reduce(r, 4, 8, 1); });
  EXPECT_EQ(verdict(), "");
  plans[2].publish({3}, {Buffer::kOutput, 0, 1});
  EXPECT_NE(verdict().find("never takes"), std::string::npos) << verdict();
}

TEST_F(Damaged, AFoldInAnotherOrderIsFound) {
  plans = all_ranks(4, [](int r) { return direct_all_reduce_one_round(r, 4, 8, 8); });
  EXPECT_EQ(verdict(), "");
  std::swap(plans[2].steps.back().operands[0], plans[2].steps.back().operands[1]);
  EXPECT_NE(verdict().find("different orders"), std::string::npos) << verdict();
}

TEST_F(Damaged, MemoryOutsideIsFound) {
  plans[0].steps[0].target.begin += 100;
  EXPECT_NE(verdict().find("outside"), std::string::npos) << verdict();
}

}  // namespace
}  // namespace banyan::comm
