#include "src/parallel/v_order.hpp"

#include <gtest/gtest.h>

#include <map>
#include <tuple>

namespace banyan::parallel {
namespace {

TEST(VOrder, DoesEveryPassOnceAndHoldsNoMoreThanItMay) {
  for (int stages = 2; stages <= 8; ++stages)
    for (int microbatches = 1; microbatches <= 20; ++microbatches)
      for (int stage = 0; stage < stages; ++stage) {
        std::map<std::tuple<PassKind, int>, int> next;
        int held = 0;
        for (const Pass& p : v_order(stages, stage, microbatches, {4, 5, 3})) {
          EXPECT_EQ(p.microbatch, (next[{p.kind, p.chunk}]++));
          if (p.kind == PassKind::kForward) {
            EXPECT_LE(++held, v_slots(stages));
          }
          if (p.kind == PassKind::kBackwardWeights) --held;
          EXPECT_NE(p.kind, PassKind::kBackward);
        }
        EXPECT_EQ(next.size(), 6u);
        for (const auto& [pass, count] : next) EXPECT_EQ(count, microbatches);
      }
}

TEST(VOrder, OfTwoStagesAsInThePaper) {
  std::string text;
  for (const Pass& p : v_order(2, 0, 4, {}))
    text += (p.kind == PassKind::kForward         ? "F"
             : p.kind == PassKind::kBackwardInput ? "B"
                                                  : "W") +
            std::to_string(p.microbatch) + (p.chunk == 0 ? " " : "' ");
  EXPECT_EQ(text.substr(0, 9), "F0 F1 F0'");
}

TEST(VOrder, IsQuickForLargePipelines) { EXPECT_EQ(v_order(64, 63, 512, {}).size(), 6u * 512); }

}  // namespace
}  // namespace banyan::parallel
