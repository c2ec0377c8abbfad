// Every plan for every rank count up to 64; and the verifier finds what is wrong with damaged plans.
#include "comm/plan_verifier.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <numeric>

#include "comm/plans/choose.hpp"
#include "comm/plans/direct.hpp"
#include "comm/plans/dissemination_gather.hpp"
#include "comm/plans/recursive_doubling.hpp"
#include "comm/plans/ring.hpp"
#include "comm/plans/spread.hpp"

namespace banyan::comm {
namespace {

constexpr int kMaxRanks = 64;

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

TEST(EveryRankCount, AllReduce) {
  for (int p = 1; p <= kMaxRanks; ++p) {
    SCOPED_TRACE(p);
    for (std::int64_t n : {std::int64_t{0}, std::int64_t{1}, std::int64_t{p - 1}, std::int64_t{2 * p + 3}}) {
      const Collective c{.kind = CollectiveKind::kAllReduce, .counts = {n}, .to = {}};
      const auto ring = all_ranks(p, [&](int r) { return ring_all_reduce(r, p, n, 2); });
      EXPECT_EQ(verify(c, ring), "");
      EXPECT_LE(most_sent(ring), 2 * (p - 1) * ((n + p - 1) / p));
      const auto doubling = all_ranks(p, [&](int r) { return recursive_doubling_all_reduce(r, p, n); });
      EXPECT_EQ(verify(c, doubling), "");
      if (p > 20) continue;  // meant for few ranks
      const auto direct = all_ranks(p, [&](int r) { return direct_all_reduce(r, p, n, 1); });
      EXPECT_EQ(verify(c, direct), "");
      EXPECT_LE(most_sent(direct), n + (p - 1) * ((n + p - 1) / p));
      EXPECT_EQ(verify(c, all_ranks(p, [&](int r) { return direct_all_reduce_small(r, p, n); })), "");
    }
  }
}

TEST(EveryRankCount, ReduceScatter) {
  for (int p = 1; p <= kMaxRanks; ++p) {
    SCOPED_TRACE(p);
    const auto counts = uneven(p);
    const std::int64_t total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
    for (bool aliased : {false, true}) {
      const Collective c{.kind = CollectiveKind::kReduceScatter, .counts = counts, .to = {}, .aliased = aliased};
      const auto ring = all_ranks(p, [&](int r) { return ring_reduce_scatter(r, Parts(counts), 3); });
      EXPECT_EQ(verify(c, ring), "");
      EXPECT_LE(most_sent(ring), total);
      if (p > 20) continue;
      const auto direct = all_ranks(p, [&](int r) { return direct_reduce_scatter(r, Parts(counts), 3); });
      EXPECT_EQ(verify(c, direct), "");
      EXPECT_LE(most_sent(direct), total);
    }
  }
}

TEST(EveryRankCount, AllGather) {
  for (int p = 1; p <= kMaxRanks; ++p) {
    SCOPED_TRACE(p);
    const auto counts = uneven(p);
    const std::int64_t total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
    for (bool aliased : {false, true}) {
      const Collective c{.kind = CollectiveKind::kAllGather, .counts = counts, .to = {}, .aliased = aliased};
      const auto ring = all_ranks(p, [&](int r) { return ring_all_gather(r, Parts(counts), 3); });
      EXPECT_EQ(verify(c, ring), "");
      EXPECT_LE(most_sent(ring), total);
      EXPECT_EQ(verify(c, all_ranks(p, [&](int r) { return dissemination_all_gather(r, Parts(counts)); })), "");
      EXPECT_EQ(verify(c, all_ranks(p, [&](int r) { return direct_all_gather(r, Parts(counts), 3); })), "");
    }
  }
}

TEST(EveryRankCount, BroadcastFromEveryRoot) {
  for (int p = 1; p <= kMaxRanks; ++p) {
    SCOPED_TRACE(p);
    for (int root = 0; root < p; ++root) {
      const Collective c{.kind = CollectiveKind::kBroadcast, .counts = {7}, .to = {}, .root = root};
      EXPECT_EQ(verify(c, all_ranks(p, [&](int r) { return binomial_broadcast(r, p, 7, root, 3); })), "");
    }
  }
}

TEST(EveryRankCount, Barrier) {
  for (int p = 1; p <= kMaxRanks; ++p) {
    SCOPED_TRACE(p);
    EXPECT_EQ(verify({.kind = CollectiveKind::kBarrier, .counts = {}, .to = {}},
                     all_ranks(p, [&](int r) { return dissemination_barrier(r, p); })),
              "");
  }
}

TEST(EveryRankCount, AllToAll) {
  for (int p = 1; p <= kMaxRanks; ++p) {
    SCOPED_TRACE(p);
    Collective c{.kind = CollectiveKind::kAllToAll, .counts = {}, .to = {}};
    for (int i = 0; i < p; ++i) {
      c.to.emplace_back();
      for (int j = 0; j < p; ++j) c.to.back().push_back((i * 3 + j) % 5);
    }
    const auto plans = all_ranks(p, [&](int r) {
      std::vector<std::int64_t> from;
      for (int i = 0; i < p; ++i) from.push_back(c.to[static_cast<std::size_t>(i)][static_cast<std::size_t>(r)]);
      return pairwise_all_to_all(r, Parts(c.to[static_cast<std::size_t>(r)]), Parts(from), 3);
    });
    EXPECT_EQ(verify(c, plans), "");
  }
}

// The plans that are really used, around the sizes where the choice changes; elements are large so that few will do.
TEST(EveryRankCount, Chosen) {
  for (int p = 1; p <= kMaxRanks; ++p) {
    SCOPED_TRACE(p);
    constexpr std::size_t kElement = 4096;
    for (std::int64_t n : {4, 5, 300}) {
      const Collective reduce{.kind = CollectiveKind::kAllReduce, .counts = {n}, .to = {}};
      EXPECT_EQ(verify(reduce, all_ranks(p, [&](int r) { return choose_all_reduce(r, p, n, kElement); })), "");
    }
    const Parts parts = Parts::even(501, p);
    std::vector<std::int64_t> counts;
    for (int i = 0; i < p; ++i) counts.push_back(parts.count(i));
    EXPECT_EQ(verify({.kind = CollectiveKind::kReduceScatter, .counts = counts, .to = {}},
                     all_ranks(p, [&](int r) { return choose_reduce_scatter(r, parts, kElement); })),
              "");
    EXPECT_EQ(verify({.kind = CollectiveKind::kAllGather, .counts = counts, .to = {}},
                     all_ranks(p, [&](int r) { return choose_all_gather(r, parts, kElement); })),
              "");
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

TEST_F(Damaged, MemoryOutsideIsFound) {
  plans[0].steps[0].target.begin += 100;
  EXPECT_NE(verdict().find("outside"), std::string::npos) << verdict();
}

}  // namespace
}  // namespace banyan::comm
