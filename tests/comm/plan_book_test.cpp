#include "comm/plan_book.hpp"

#include <gtest/gtest.h>

#include <string>

#include "comm/plan_choice.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

const GroupTree kTree{{{0, 0, 1, 1}, {0, 0, 1, 1}}};

PlanBook book() {
  Links links;
  links.measured = true;
  links.across = {2.5e-5, 1.1e8};
  PlanWishes wishes = no_wishes();
  wishes[static_cast<std::size_t>(CollectiveKind::kBroadcast)] = std::string(kNative);
  return {links,
          {choose_plans("data group", 4, kTree, links, false, no_wishes()),
           choose_plans("world", 2, {}, links, true, wishes)}};
}

TEST(PlanBook, ReadsWhatItWrote) {
  const PlanBook before = book();
  const std::string text = write_book(before);
  const PlanBook after = read_book(text, "plans.json");
  EXPECT_EQ(after.links, before.links);
  ASSERT_EQ(after.groups.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(after.groups[i].group, before.groups[i].group);
    EXPECT_TRUE(after.groups[i].same_plans(before.groups[i]));
  }
  EXPECT_EQ(write_book(after), text);
  EXPECT_FALSE(is_other_form(text, "plans.json"));
  EXPECT_TRUE(is_other_form("{}", "plans.json"));
}

TEST(PlanBook, FindsTheRangeOfASize) {
  GroupPlans plans;
  plans.ranges[0] = {
      {1024, {"direct", 4096}, 0}, {65536, {"ring", 8192}, 0}, {PlanRange::kAnySize, {"ring", 65536}, 0}};
  EXPECT_EQ(plans.recipe(CollectiveKind::kAllReduce, 0).algorithm, "direct");
  EXPECT_EQ(plans.recipe(CollectiveKind::kAllReduce, 1024).algorithm, "direct");
  EXPECT_EQ(plans.recipe(CollectiveKind::kAllReduce, 1025).piece_bytes, 8192);
  EXPECT_EQ(plans.recipe(CollectiveKind::kAllReduce, std::int64_t{1} << 40).piece_bytes, 65536);
  EXPECT_THROW(plans.recipe(CollectiveKind::kBarrier, 0), BugError);
}

TEST(PlanBook, FindsGroupsByNameAndSize) {
  const PlanBook b = book();
  EXPECT_NE(b.find("world", 2), nullptr);
  EXPECT_EQ(b.find("world", 3), nullptr);
  EXPECT_EQ(b.find("tensor group", 2), nullptr);
}

TEST(PlanBook, DifferentPlansAreNotTheSame) {
  const GroupPlans a = book().groups[0];
  GroupPlans b = a;
  b.ranges[0].back().seconds = 77;
  EXPECT_TRUE(a.same_plans(b));
  b.ranges[0].back().recipe.piece_bytes += 4;
  EXPECT_FALSE(a.same_plans(b));
  b = a;
  b.tree.levels[0] = {0, 1, 1, 1};
  EXPECT_FALSE(a.same_plans(b));
}

// Every damage is refused with the name of the file, what is wrong and what to do.
TEST(PlanBook, RefusesWhatDoesNotFit) {
  const std::string good = write_book(book());
  const struct {
    const char *from, *to, *says;
  } cases[] = {
      {"\"version\": 1", "\"version\": 2", "version"},
      {"\"version\": 1", "\"version\": \"one\"", "version"},
      {"\"size\": 4", "\"size\": -4", "size"},
      {"\"size\": 4", "\"size\": 5", "tree"},
      {"\"size\": 4", "\"size\": 9999999999", "size"},
      {"\"links\"", "\"lynx\"", "lynx"},
      {"\"copy_rate\": ", "\"copy_rate\": -", "copy_rate"},
      {"\"copy_rate\"", "\"copy\"", "copy"},
      {"\"all-reduce\"", "\"all-reduces\"", "all-reduces"},
      {"\"algorithm\": \"direct\"", "\"algorithm\": \"direkt\"", "direkt"},
      {"\"algorithm\": \"direct\"", "\"algorithm\": 7", "algorithm"},
      {"\"piece\": ", "\"piece\": -", "piece"},
      {"\"piece\": ", "\"piece\": 0.", "piece"},
      {"\"group\": \"world\"", "\"group\": 3", "group"},
      {"\"measured\": true", "\"measured\": 1", "measured"},
  };
  for (const auto& c : cases) {
    std::string bad = good;
    const std::size_t at = bad.find(c.from);
    ASSERT_NE(at, std::string::npos) << c.from;
    bad.replace(at, std::string(c.from).size(), c.to);
    try {
      read_book(bad, "some/plans.json");
      ADD_FAILURE() << c.to;
    } catch (const DataError& e) {
      EXPECT_NE(std::string(e.what()).find("some/plans.json"), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find(c.says), std::string::npos) << e.what();
    }
  }
  for (std::size_t n = 0; n + 2 < good.size(); n += 13) EXPECT_THROW(read_book(good.substr(0, n), "f"), DataError) << n;
}

std::string one_group(const std::string& ranges, const char* kind = "all-reduce", const std::string& tree = "[[0,0]]") {
  std::string plans;
  for (int k = 0; k < kCollectiveKinds; ++k) {
    const std::string name(name_of(static_cast<CollectiveKind>(k)));
    const std::string usual = R"([{"algorithm": "direct", "piece": 4096}])";
    plans += (k ? ", \"" : "\"") + name + "\": " + (name == kind ? ranges : usual);
  }
  const std::string link = R"({"latency": 1e-6, "rate": 1e9})";
  return R"({"version": 1, "links": {"measured": false, "node": )" + link + R"(, "leaf": )" + link + R"(, "across": )" +
         link + R"(, "copy_rate": 1e9, "reduce_rate": 1e9}, "groups": [{"group": "g", "size": 2, "tree": )" + tree +
         R"(, "plans": {)" + plans + "}}]}";
}

TEST(PlanBook, RangesMustRiseAndEndWithoutLimit) {
  const std::string one = R"({"up_to": 10, "algorithm": "ring", "piece": 4096})",
                    open = R"({"algorithm": "ring", "piece": 4096})";
  EXPECT_NO_THROW(read_book(one_group("[" + one + "," + open + "]"), "f"));
  EXPECT_THROW(read_book(one_group("[" + one + "]"), "f"), DataError);
  EXPECT_THROW(read_book(one_group("[" + one + "," + one + "," + open + "]"), "f"), DataError);
  EXPECT_THROW(read_book(one_group("[" + open + "," + open + "]"), "f"), DataError);
  EXPECT_THROW(read_book(one_group("[]"), "f"), DataError);
  EXPECT_THROW(read_book(one_group("{}"), "f"), DataError);
}

TEST(PlanBook, AllToAllHasOneRange) {
  const std::string two =
      R"([{"up_to": 10, "algorithm": "direct", "piece": 4096}, {"algorithm": "pairwise", "piece": 4096}])";
  EXPECT_THROW(read_book(one_group(two, "all-to-all"), "f"), DataError);
}

TEST(PlanBook, TreesMustBeTrees) {
  const std::string open = R"([{"algorithm": "ring", "piece": 4096}])";
  EXPECT_NO_THROW(read_book(one_group(open, "all-reduce", "[]"), "f"));
  EXPECT_NO_THROW(read_book(one_group(open, "all-reduce", "[[0,1],[0,0]]"), "f"));
  for (const char* tree : {"[[0]]", "[[1,0]]", "[[0,2]]", "[[0,-1]]", "[[0,0],[0,1]]", "[0,0]", "[[0,0.5]]"})
    EXPECT_THROW(read_book(one_group(open, "all-reduce", tree), "f"), DataError) << tree;
}

TEST(PlanBook, TheTableHasALineForEveryRange) {
  const PlanBook b = book();
  std::size_t ranges = 0;
  for (const GroupPlans& g : b.groups)
    for (const auto& list : g.ranges) ranges += list.size();
  const std::string table = book_table(b);
  EXPECT_EQ(static_cast<std::size_t>(std::count(table.begin(), table.end(), '\n')), ranges + 1);
  EXPECT_NE(table.find("data group 4"), std::string::npos);
  EXPECT_NE(table.find("mpi"), std::string::npos);
}

}  // namespace
}  // namespace banyan::comm
