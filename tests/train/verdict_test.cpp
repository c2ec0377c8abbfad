#include "src/train/verdict.hpp"

#include <gtest/gtest.h>

#include <random>

namespace banyan::train {
namespace {

using Sums = std::vector<std::uint64_t>;
using Ranks = std::vector<int>;

TEST(OddOnes, TheMinorityIsOdd) {
  EXPECT_EQ(odd_ones(Sums{5}), Ranks{});
  EXPECT_EQ(odd_ones(Sums{5, 5, 5}), Ranks{});
  EXPECT_EQ(odd_ones(Sums{5, 7, 5}), Ranks{1});
  EXPECT_EQ(odd_ones(Sums{7, 5, 5, 8, 5}), (Ranks{0, 3}));
}

TEST(OddOnes, WithoutAMajorityAllAre) {
  EXPECT_EQ(odd_ones(Sums{5, 7}), (Ranks{0, 1}));
  EXPECT_EQ(odd_ones(Sums{5, 5, 7, 7}), (Ranks{0, 1, 2, 3}));
  EXPECT_EQ(odd_ones(Sums{5, 6, 7}), (Ranks{0, 1, 2}));
}

bool all_made(std::size_t) { return true; }

TEST(Judge, WhoCannotRepeatItselfIsToBlame) {
  const Sums right{1, 2, 3}, wrong{1, 9, 3};
  const Blame own = judge({.own = wrong, .own_again = right, .stand_in = right, .stand_in_again = right}, all_made);
  EXPECT_TRUE(own.own && !own.stand_in && own.at == 1);
  const Blame other = judge({.own = right, .own_again = right, .stand_in = wrong, .stand_in_again = right}, all_made);
  EXPECT_TRUE(!other.own && other.stand_in && other.at == 1);
}

TEST(Judge, AThirdDecidesBetweenTwoThatInsist) {
  const Sums right{1, 2, 3}, wrong{1, 9, 3}, strange{1, 8, 3};
  const Passes p{.own = wrong, .own_again = wrong, .stand_in = right, .stand_in_again = right};
  Passes with = p;
  EXPECT_TRUE(judge(p, all_made).own && judge(p, all_made).stand_in);
  with.third = right;
  EXPECT_TRUE(judge(with, all_made).own && !judge(with, all_made).stand_in);
  with.third = wrong;
  EXPECT_TRUE(!judge(with, all_made).own && judge(with, all_made).stand_in);
  with.third = strange;
  EXPECT_TRUE(judge(with, all_made).own && judge(with, all_made).stand_in);
}

TEST(Judge, NobodyIsToBlameForWhatItWasGiven) {
  const Sums right{1, 2, 3}, wrong{1, 9, 9};
  const auto given = [](std::size_t i) { return i != 1; };
  for (const Sums& again : {right, wrong}) {
    const Blame b = judge({.own = wrong, .own_again = again, .stand_in = right, .stand_in_again = right}, given);
    EXPECT_FALSE(b.own || b.stand_in);
  }
}

TEST(Judge, EqualPassesBlameNobody) {
  const Sums right{1, 2, 3};
  const Blame b = judge({.own = right, .own_again = right, .stand_in = right, .stand_in_again = right}, all_made);
  EXPECT_FALSE(b.own || b.stand_in);
}

// One rank of any number of data ranks is wrong in whichever passes: it or nobody else is blamed, and with three it
// alone, however often it is wrong.
TEST(Judge, TheInnocentAreNeverBlamedAlone) {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    const Sums right{1, 2, 3, 4};
    const auto maybe = [&](bool guilty) {
      Sums s = right;
      if (guilty && random() % 2) s[random() % 4] = 5 + random() % 2;
      return s;
    };
    const auto guilty = random() % 3;  // own, stand-in or third
    const Sums own = maybe(guilty == 0), own_again = maybe(guilty == 0), stand_in = maybe(guilty == 1),
               stand_in_again = maybe(guilty == 1), third = maybe(guilty == 2);
    const Blame b = judge({own, own_again, stand_in, stand_in_again, third}, all_made);
    EXPECT_TRUE(guilty == 0 || !b.own);
    EXPECT_TRUE(guilty == 1 || !b.stand_in);
    EXPECT_TRUE(guilty != 0 || own == right || b.own);
    EXPECT_TRUE(guilty != 1 || stand_in == right || b.stand_in);
  }
}

TEST(Suspects, ThoseThatMostFindingsAreAbout) {
  const Finding row{{1, 3}, "a"}, column{{2, 3}, "b"}, sure{{2}, "c"};
  EXPECT_EQ(suspects(std::vector<Finding>{row}), (Ranks{1, 3}));
  EXPECT_EQ(suspects(std::vector<Finding>{row, row, column}), Ranks{3});
  EXPECT_EQ(suspects(std::vector<Finding>{row, sure, column}), Ranks{2});
  EXPECT_EQ(suspects(std::vector<Finding>{}), Ranks{});
}

TEST(Findings, TravelAsText) {
  const std::vector<Finding> findings{{{1, 3}, "the copies of \"x\" differ"}, {{2}, "c"}};
  EXPECT_EQ(decode(encode(findings)), findings);
  EXPECT_EQ(decode(encode({})), std::vector<Finding>{});
}

}  // namespace
}  // namespace banyan::train
