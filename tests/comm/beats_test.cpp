#include "comm/beats.hpp"

#include <gtest/gtest.h>

namespace banyan::comm {
namespace {

TEST(Beats, CountAndKeepTheLast) {
  Beats beats;
  EXPECT_EQ(beats.of(3), nullptr);
  beats.add(3, "step 1, microbatch 1");
  beats.add(3, "step 1, microbatch 2");
  ASSERT_NE(beats.of(3), nullptr);
  EXPECT_EQ(beats.of(3)->count, 2u);
  EXPECT_EQ(beats.of(3)->where, "step 1, microbatch 2");
}

TEST(Beats, OldNewsChangeNothing) {
  Beats beats;
  EXPECT_TRUE(beats.note(1, {.count = 5, .where = "five"}));
  EXPECT_FALSE(beats.note(1, {.count = 5, .where = "again"}));
  EXPECT_FALSE(beats.note(1, {.count = 4, .where = "four"}));
  EXPECT_FALSE(beats.note(1, {}));
  EXPECT_EQ(beats.of(1)->where, "five");
}

TEST(Beats, TravelWithTheirAge) {
  const Beat sent{.count = 7, .where = "step 2, microbatch 3", .when = Clock::now() - std::chrono::milliseconds(4200)};
  const Beat got = Beats::unpack(Beats::pack(sent));
  EXPECT_EQ(got.count, 7u);
  EXPECT_EQ(got.where, sent.where);
  EXPECT_NEAR(Seconds(got.when - sent.when).count(), 0, 1);
  EXPECT_EQ(last_heard(sent).find("it was last heard of 4."), 0u) << last_heard(sent);
  EXPECT_NE(last_heard(sent).find("s ago, at step 2, microbatch 3"), std::string::npos) << last_heard(sent);
}

TEST(Beats, NonsenseIsNothing) {
  for (const char* text : {"", "7", "7 ", "x 1 here", "7 x here", "7 12", "-1 5 here", "7 -5 here",
                           "7 999999999999999999 here", "99999999999 5 here", "7  5 here"})
    EXPECT_EQ(Beats::unpack(text).count, 0u) << text;
}

}  // namespace
}  // namespace banyan::comm
