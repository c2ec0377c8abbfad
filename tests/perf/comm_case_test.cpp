#include "perf/comm_case.hpp"

#include <gtest/gtest.h>

#include <numeric>

namespace banyan::perf {
namespace {

constexpr int kRanks = 3;

std::vector<Case> team(Traffic traffic, std::int64_t bytes = 100) {
  std::vector<Case> all;
  for (int r = 0; r < kRanks; ++r) all.emplace_back(traffic, bytes, r, kRanks, 2);
  for (Case& c : all) c.fill();
  return all;
}

/// What the call should do, done by hand.
void carry_out(std::vector<Case>& all) {
  const std::vector<Case> before = all;
  const auto data = [&before](int r) { return Case(before[static_cast<std::size_t>(r)]).data(); };
  for (Case& c : all) {
    const auto part = static_cast<std::size_t>(c.part()), me = static_cast<std::size_t>(c.rank());
    switch (c.traffic()) {
      case Traffic::kLatency:
        if (c.speaks()) c.room() = data(c.rank() == 0 ? 2 : 0);
        break;
      case Traffic::kBandwidth:
        if (c.rank() == 2) c.room() = data(0);
        break;
      case Traffic::kBroadcast:
        c.data() = data(0);
        break;
      case Traffic::kAllReduce:
      case Traffic::kReduceScatter: {
        std::vector<float> sum(c.data().size());
        for (int r = 0; r < kRanks; ++r)
          for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += data(r)[i];
        if (c.traffic() == Traffic::kAllReduce)
          c.data() = sum;
        else
          for (std::size_t i = 0; i < part; ++i) c.room()[i] = sum[me * part + i];
        break;
      }
      case Traffic::kAllGather:
        for (std::size_t i = 0; i < c.data().size(); ++i) c.data()[i] = data(static_cast<int>(i / part))[i];
        break;
      case Traffic::kAllToAll:
        for (std::size_t i = 0; i < c.data().size(); ++i)
          c.room()[i] = data(static_cast<int>(i / part))[me * part + i % part];
        break;
      case Traffic::kBarrier:
        break;
    }
  }
}

bool has_result(const Case& c) {
  if (c.traffic() == Traffic::kLatency) return c.speaks();
  return c.traffic() != Traffic::kBandwidth || c.rank() == c.peer();
}

std::vector<float>& result(Case& c) { return c.room().empty() ? c.data() : c.room(); }

TEST(CommCase, NamesAndKindsBelongTogether) {
  for (Traffic t : kAllTraffic) EXPECT_EQ(traffic_of(name_of(t)), t);
  EXPECT_FALSE(traffic_of("all_reduce"));
}

TEST(CommCase, TheRightResultHasNothingWrong) {
  for (Traffic t : kAllTraffic) {
    std::vector<Case> all = team(t);
    carry_out(all);
    for (const Case& c : all) EXPECT_EQ(c.count_wrong(), 0) << name_of(t) << " rank " << c.rank();
  }
}

TEST(CommCase, EveryElementThatIsOffIsCounted) {
  for (Traffic t : kAllTraffic) {
    if (t == Traffic::kBarrier) continue;
    std::vector<Case> all = team(t);
    carry_out(all);
    for (Case& c : all) {
      if (!has_result(c)) continue;
      result(c).front() += 1;
      result(c).back() = -1;
      EXPECT_EQ(c.count_wrong(), 2) << name_of(t) << " rank " << c.rank();
    }
  }
}

TEST(CommCase, ACallThatDoesNothingIsWrong) {
  for (Traffic t : kAllTraffic) {
    if (t == Traffic::kBarrier) continue;
    std::int64_t wrong = 0;
    for (const Case& c : team(t)) wrong += c.count_wrong();
    EXPECT_GT(wrong, 0) << name_of(t);
  }
}

TEST(CommCase, PartsAreEqual) {
  for (std::int64_t bytes : {1, 4, 100, 4096}) {
    const Case c(Traffic::kAllGather, bytes, 1, kRanks, 2);
    EXPECT_EQ(c.part() * kRanks * 4, c.bytes());
    EXPECT_GE(c.bytes(), bytes);
  }
}

TEST(CommCase, BusBandwidthIsThatOfNcclTests) {
  EXPECT_DOUBLE_EQ(Case(Traffic::kAllReduce, 64, 0, 4, 1).bus_factor(), 1.5);
  EXPECT_DOUBLE_EQ(Case(Traffic::kReduceScatter, 64, 0, 4, 1).bus_factor(), 0.75);
  EXPECT_DOUBLE_EQ(Case(Traffic::kAllGather, 64, 0, 4, 1).bus_factor(), 0.75);
  EXPECT_DOUBLE_EQ(Case(Traffic::kAllToAll, 64, 0, 4, 1).bus_factor(), 0.75);
  EXPECT_DOUBLE_EQ(Case(Traffic::kBroadcast, 64, 0, 4, 1).bus_factor(), 1);
}

}  // namespace
}  // namespace banyan::perf
