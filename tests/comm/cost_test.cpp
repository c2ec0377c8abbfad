#include "comm/cost.hpp"

#include <gtest/gtest.h>

#include "comm/group_tree.hpp"
#include "comm/plans/choose.hpp"

namespace banyan::comm {
namespace {

constexpr CollectiveKind kAll[] = {CollectiveKind::kAllReduce, CollectiveKind::kReduceScatter,
                                   CollectiveKind::kAllGather, CollectiveKind::kBroadcast,
                                   CollectiveKind::kBarrier,   CollectiveKind::kAllToAll};

GroupTree tree(int size, int per_node, int per_leaf) {
  std::vector<int> nodes, leaves;
  for (int r = 0; r < size; ++r) nodes.push_back(r / per_node), leaves.push_back(r / per_leaf);
  return make_tree(nodes, leaves);
}

TEST(Cost, DistanceIsWhatTheTreeSays) {
  const GroupTree t = tree(8, 2, 4);
  EXPECT_EQ(distance(t, 0, 0), Distance::kNode);
  EXPECT_EQ(distance(t, 0, 1), Distance::kNode);
  EXPECT_EQ(distance(t, 0, 2), Distance::kLeaf);
  EXPECT_EQ(distance(t, 0, 4), Distance::kAcross);
  EXPECT_EQ(distance({}, 0, 7), Distance::kNode);
}

TEST(Cost, EveryPlanHasAPriceThatGrowsWithSize) {
  for (const CollectiveKind kind : kAll)
    for (const std::string_view name : algorithms(kind))
      for (const int size : {2, 3, 5, 8, 16, 17, 40}) {
        const GroupTree t = tree(size, 2, 4);
        double before = 0;
        for (std::int64_t bytes = 4096; bytes <= 64 << 20; bytes *= 16) {
          const double now = price({std::string(name), 64 << 10}, even_call(kind, size, bytes), t, Links{}, false);
          EXPECT_GT(now, 0) << name_of(kind) << " " << name << " of " << size;
          EXPECT_GE(now, 0.999 * before) << name_of(kind) << " " << name << " of " << size << ", " << bytes << " bytes";
          before = now;
        }
      }
}

TEST(Cost, OneMemberPaysNothing) {
  EXPECT_EQ(price({"ring", 4096}, even_call(CollectiveKind::kAllReduce, 1, 1 << 20), {}, Links{}, false), 0);
}

TEST(Cost, TwoRanksPayForOneMessageOfEmptyness) {
  const Links links;
  const double seconds = price({"dissemination", 0}, even_call(CollectiveKind::kBarrier, 2, 0), {}, links, false);
  EXPECT_GE(seconds, links.node.latency);
  EXPECT_LE(seconds, 2 * links.node.latency);
}

// A large broadcast to one other rank takes the time of the message.
TEST(Cost, LongMessagesTakeTheirRate) {
  const Links links;
  const double seconds =
      price({"binomial", 256 << 10}, even_call(CollectiveKind::kBroadcast, 2, 64 << 20), {}, links, false);
  EXPECT_NEAR(seconds, (64 << 20) / links.node.rate, 0.1 * seconds);
}

TEST(Cost, SlowerLinksCostMore) {
  Links slow;
  slow.across.rate /= 20;
  const GroupTree t = tree(4, 1, 2);
  for (const CollectiveKind kind : {CollectiveKind::kAllReduce, CollectiveKind::kAllGather}) {
    const Call call = even_call(kind, 4, 8 << 20);
    EXPECT_GT(price({"ring", 256 << 10}, call, t, slow, false), 1.5 * price({"ring", 256 << 10}, call, t, {}, false));
  }
}

// Ranks placed alternately across the leaves send every message of a ring through the up-links.
TEST(Cost, SharedUpLinksAreWaitedFor) {
  Links box;
  box.leaf = {5e-5, 1.2e8};
  box.across = {6e-5, 5e7};
  const GroupTree blocks = make_tree({0, 1, 2, 3}, {0, 0, 1, 1}), alternating = make_tree({0, 1, 2, 3}, {0, 1, 0, 1});
  const Call call = even_call(CollectiveKind::kAllReduce, 4, 16 << 20);
  const Recipe ring{"ring", 256 << 10};
  EXPECT_GT(price(ring, call, alternating, box, false), 1.5 * price(ring, call, blocks, box, false));
}

TEST(Cost, HierarchyPaysWhereAcrossIsSlow) {
  Links box;
  box.leaf = {5e-5, 1.2e8};
  box.across = {6e-5, 5e7};
  const GroupTree alternating = make_tree({0, 1, 2, 3}, {0, 1, 0, 1});
  const Call call = even_call(CollectiveKind::kAllReduce, 4, 16 << 20);
  EXPECT_LT(price({"hierarchical", 256 << 10}, call, alternating, box, false),
            price({"ring", 256 << 10}, call, alternating, box, false));
}

TEST(Cost, AWindowIsCheaperThanMessages) {
  const Call call = even_call(CollectiveKind::kAllReduce, 4, 4 << 20);
  EXPECT_LT(price({"direct", 128 << 10}, call, {}, Links{}, true),
            price({"direct", 128 << 10}, call, {}, Links{}, false));
}

TEST(Cost, AThousandRanksArePriced) {
  const GroupTree t = tree(1000, 8, 80);
  for (const std::int64_t bytes : {std::int64_t{4096}, std::int64_t{64} << 20})
    EXPECT_GT(price({"ring", 256 << 10}, even_call(CollectiveKind::kAllReduce, 1000, bytes), t, Links{}, false), 0);
}

TEST(Cost, EvenCallsAddUp) {
  EXPECT_EQ(total_bytes(even_call(CollectiveKind::kReduceScatter, 3, 4000)), 4000);
  const Call call = even_call(CollectiveKind::kAllToAll, 4, 4096);
  EXPECT_EQ(call.counts, call.in_counts);
}

}  // namespace
}  // namespace banyan::comm
