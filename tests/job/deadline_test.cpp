#include "src/job/deadline.hpp"

#include <gtest/gtest.h>

#include <string>

#include "src/base/error.hpp"

namespace banyan::job {
namespace {

const Clock::time_point kStart{std::chrono::hours(10)};
const Clock::time_point kNow = kStart + std::chrono::seconds(30);
constexpr double kUnixNow = 1.8e9;

std::optional<double> seconds_left(const TimeLimit& limit) {
  const auto end = limit.end(kStart, kNow, kUnixNow);
  if (!end) return std::nullopt;
  return Seconds(*end - kNow).count();
}

TEST(Deadline, NobodySaysAnything) { EXPECT_EQ(seconds_left({}), std::nullopt); }

TEST(Deadline, TimeLeftCountsFromTheStartOfTheProcess) { EXPECT_DOUBLE_EQ(*seconds_left({.left = Seconds(100)}), 70); }

TEST(Deadline, SlurmNamesAMoment) { EXPECT_DOUBLE_EQ(*seconds_left({.slurm_end = "1800003600"}), 3600); }

TEST(Deadline, TheEarlierCounts) {
  EXPECT_DOUBLE_EQ(*seconds_left({.left = Seconds(100), .slurm_end = "1800003600"}), 70);
  EXPECT_DOUBLE_EQ(*seconds_left({.left = Seconds(10000), .slurm_end = "1800003600"}), 3600);
}

TEST(Deadline, MayBePast) { EXPECT_DOUBLE_EQ(*seconds_left({.slurm_end = "1799999000"}), -1000); }

TEST(Deadline, AYearAndMoreIsNoLimit) {
  EXPECT_EQ(seconds_left({.slurm_end = "4294967294"}), std::nullopt) << "what Slurm calls infinite";
  EXPECT_EQ(seconds_left({.slurm_end = "1e300"}), std::nullopt);
  EXPECT_TRUE(seconds_left({.slurm_end = "-1e300"}));
}

TEST(Deadline, NonsenseIsRefused) {
  for (const char* text : {"", "soon", "12:00", "nan"})
    EXPECT_THROW(seconds_left({.slurm_end = text}), ConfigError) << text;
}

TEST(Deadline, WhatLiesAheadIsCounted) {
  const Pace pace{.step = Seconds(10), .evaluation = Seconds(7), .save = Seconds(100)};
  EXPECT_EQ(pace.until_gone(false, false), Seconds(120) + kLeaving);
  EXPECT_EQ(pace.until_gone(true, false), Seconds(127) + kLeaving);
  EXPECT_EQ(pace.until_gone(false, true), Seconds(220) + kLeaving);
}

TEST(Deadline, AHiccupIsForgotten) {
  LongestOfLate late;
  EXPECT_EQ(late.get(), Seconds(0));
  late.add(Seconds(600));
  late.add(Seconds(1));
  EXPECT_EQ(late.get(), Seconds(600));
  for (int i = 0; i < 32; ++i) late.add(Seconds(2));
  EXPECT_EQ(late.get(), Seconds(2));
}

}  // namespace
}  // namespace banyan::job
