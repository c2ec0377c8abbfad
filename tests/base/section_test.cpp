#include "src/base/section.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "src/base/error.hpp"

namespace banyan {
namespace {

TEST(Section, TheTrailNamesInnermostFirst) {
  EXPECT_EQ(Section::trail(), "");
  const Section outer("the step");
  {
    const Section inner("rank 3's gradient");
    EXPECT_EQ(Section::trail(), "rank 3's gradient (in the step)");
  }
  EXPECT_EQ(Section::trail(), "the step");
  std::thread([] { EXPECT_EQ(Section::trail(), ""); }).join();
}

TEST(Section, ATrailIsCopiedAsFarAsThereIsRoom) {
  char text[64];
  Section::copy_trail(text, sizeof text);
  EXPECT_STREQ(text, "");
  const Section outer("the step");
  const Section inner("rank 3's gradient");
  Section::copy_trail(text, sizeof text);
  EXPECT_EQ(text, Section::trail());
  Section::copy_trail(text, 12);
  EXPECT_STREQ(text, "rank 3's gr");
  Section::copy_trail(text, 1);
  EXPECT_STREQ(text, "");
}

TEST(Section, AnInnerDeadlineIsNeverLaterThanTheOuterOne) {
  const Section outer("outer", Seconds(1e-9));
  const Section inner("inner", Seconds(1000));
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_TRUE(inner.expired());
  try {
    inner.check();
    FAIL() << "no error";
  } catch (const CommError& e) {
    EXPECT_NE(std::string(e.what()).find("for inner (in outer)"), std::string::npos) << e.what();
  }
}

TEST(Section, WithoutALimitNothingExpires) {
  const Section section("for ever");
  EXPECT_FALSE(section.expired());
  section.check();
}

}  // namespace
}  // namespace banyan
