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
  const PlacementQuestion question(layout(), f, {});
  const PlacementChoice choice = choose_placement(question);
  const std::string table = placement_table(question, choice.chosen);
  EXPECT_NE(table.find("messages of a step"), std::string::npos);
  const std::size_t first = table.find('\n') + 1;
  EXPECT_NE(table.substr(first, table.find('\n', first) - first).find("<- chosen"), std::string::npos) << table;
  const std::size_t random = table.find("nodes in random order, median of 20"), given = table.find("ranks as given");
  EXPECT_NE(random, std::string::npos);
  EXPECT_NE(given, std::string::npos);
  EXPECT_EQ(table, placement_table(question, choice.chosen)) << "the same every time";
  EXPECT_EQ(table.find("as asked for"), std::string::npos);
}

TEST(PlacementTable, HasALineForAnOrderThatWasAskedFor) {
  std::vector<int> order{3, 1, 2, 0, 7, 6, 5, 4, 8, 9, 10, 11, 15, 14, 13, 12};
  const parallel::Fabric f = alternating();
  const PlacementQuestion question(layout(), f, {});
  const std::string table = placement_table(question, question.price(order, "as asked for"));
  const std::size_t asked = table.find("as asked for");
  ASSERT_NE(asked, std::string::npos);
  EXPECT_EQ(table.substr(asked, table.find('\n', asked) - asked).find("<- chosen") != std::string::npos, true) << table;
}

TEST(HostFile, NumbersTheNextLaunchLikeThisOne) {
  EXPECT_EQ(host_file({2, 0, 3}, {"a", "b", "c", "d"}), "c\na\nd\nb\n");
  EXPECT_EQ(host_file({0, 1}, {"a", "a"}), "a\na\n");
}

TEST(HostFile, IsReadAgain) {
  const std::vector<std::string> hosts{"a", "a", "b", "c"};
  const parallel::Fabric f{.places = {{0, 0, 0}, {0, 1, 0}, {1, 0, 0}, {2, 0, 0}}};
  EXPECT_EQ(nodes_of_hosts(host_file({2, 0, 3}, hosts), 3, hosts, f), (std::vector<int>{1, 0, 2}));
  EXPECT_EQ(nodes_of_hosts("b\ngone\na\n", 3, hosts, f), (std::vector<int>{1, -1, 0}));
  EXPECT_EQ(nodes_of_hosts("b\na\n", 3, hosts, f), std::vector<int>{}) << "of a smaller mesh";
  EXPECT_EQ(nodes_of_hosts("", 3, hosts, f), std::vector<int>{});
}

}  // namespace
}  // namespace banyan::plan
