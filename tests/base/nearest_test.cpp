#include "src/base/nearest.hpp"

#include <gtest/gtest.h>

namespace banyan {
namespace {

TEST(Nearest, DistanceCountsSwapsOnce) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("trian", "train"), 1);
  EXPECT_EQ(edit_distance("train", "train"), 0);
}

TEST(Nearest, OffersOnlyWhatCouldBeMeant) {
  const std::vector<std::string> names{"train", "eval", "generate"};
  EXPECT_EQ(nearest("trian", names), "train");
  EXPECT_EQ(nearest("generat", names), "generate");
  EXPECT_EQ(nearest("zzzzzz", names), "");
  EXPECT_EQ(nearest("", names), "");
}

}  // namespace
}  // namespace banyan
