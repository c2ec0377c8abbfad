#include "src/plan/placement_table.hpp"

#include <gtest/gtest.h>

#include "tests/plan/test_config.hpp"

namespace banyan::plan {
namespace {

/// Sixteen nodes of one rank that alternate between four leaves.
parallel::Fabric alternating() {
  parallel::Fabric f;
  for (int n = 0; n < 16; ++n) f.places.push_back({n, 0, n % 4});
  return f;
}

Layout layout() {
  config::Config c = gpt2_124m();
  c.parallel.tensor = 4;
  c.parallel.pipeline = 2;
  return make_layout(c, 16, 0);
}

TEST(PlacementTable, ShowsTheChosenOneFirstAndRandomOnesBehind) {
  const parallel::Fabric f = alternating();
  const PlacementChoice choice = choose_placement(layout(), f, {});
  const std::string table = placement_table(layout(), f, {}, choice.chosen.process_of);
  EXPECT_NE(table.find("messages of a step"), std::string::npos);
  const std::size_t first = table.find('\n') + 1;
  EXPECT_NE(table.substr(first, table.find('\n', first) - first).find("<- chosen"), std::string::npos) << table;
  const std::size_t random = table.find("nodes in random order, median of 20"), given = table.find("ranks as given");
  EXPECT_NE(random, std::string::npos);
  EXPECT_NE(given, std::string::npos);
  EXPECT_EQ(table, placement_table(layout(), f, {}, choice.chosen.process_of)) << "the same every time";
  EXPECT_EQ(table.find("as asked for"), std::string::npos);
}

TEST(PlacementTable, HasALineForAnOrderThatWasAskedFor) {
  std::vector<int> order{3, 1, 2, 0, 7, 6, 5, 4, 8, 9, 10, 11, 15, 14, 13, 12};
  const std::string table = placement_table(layout(), alternating(), {}, order);
  const std::size_t asked = table.find("as asked for");
  ASSERT_NE(asked, std::string::npos);
  EXPECT_EQ(table.substr(asked, table.find('\n', asked) - asked).find("<- chosen") != std::string::npos, true) << table;
}

TEST(HostFile, NumbersTheNextLaunchLikeThisOne) {
  EXPECT_EQ(host_file({2, 0, 3}, {"a", "b", "c", "d"}), "c\na\nd\nb\n");
  EXPECT_EQ(host_file({0, 1}, {"a", "a"}), "a\na\n");
}

}  // namespace
}  // namespace banyan::plan
