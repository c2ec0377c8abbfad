#include "src/job/save_times.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>

#include "tests/temp_dir.hpp"

namespace banyan::job {
namespace {

constexpr Seconds kUnknown{-1};

TEST(SaveTimes, NothingIsKnownOfAFreshRun) {
  const test::TempDir run;
  EXPECT_EQ(SaveTimes(run.path()).p99(kUnknown), kUnknown);
}

TEST(SaveTimes, TheNextAttemptKnows) {
  const test::TempDir run;
  {
    SaveTimes times(run.path());
    times.add(1, 10, 1000, Seconds(3));
    times.add(1, 20, 1000, Seconds(0.1));
    EXPECT_EQ(times.p99(kUnknown), Seconds(3));
  }
  SaveTimes times(run.path());
  EXPECT_EQ(times.p99(kUnknown), Seconds(3));
  times.add(2, 30, 1000, Seconds(4.25));
  EXPECT_EQ(SaveTimes(run.path()).p99(kUnknown), Seconds(4.25));
}

TEST(SaveTimes, TheNewestHundredCount) {
  const test::TempDir run;
  SaveTimes times(run.path());
  times.add(1, 1, 1, Seconds(1000));
  for (int i = 1; i <= 100; ++i) times.add(1, i, 1, Seconds(i));
  EXPECT_EQ(times.p99(kUnknown), Seconds(99)) << "the slowest of a hundred is left out";
  for (int i = 0; i < 2000; ++i) times.add(1, i, 1, Seconds(7));
  EXPECT_EQ(SaveTimes(run.path()).p99(kUnknown), Seconds(7)) << "only the end of a long file is read";
}

TEST(SaveTimes, WhatTrainingWaitedIsApart) {
  const test::TempDir run;
  {
    SaveTimes times(run.path());
    times.add(1, 10, 1000, Seconds(3));
    EXPECT_EQ(times.waited_p99(kUnknown), kUnknown);
    times.add(1, 20, 1000, Seconds(4), Seconds(0.25));
  }
  const SaveTimes times(run.path());
  EXPECT_EQ(times.p99(kUnknown), Seconds(4));
  EXPECT_EQ(times.waited_p99(kUnknown), Seconds(0.25));
}

TEST(SaveTimes, DamagedLinesArePassedOver) {
  const test::TempDir run;
  std::ofstream(run / "saves.jsonl") << "{\"seconds\": 2}\nnonsense\n{}\n{\"seconds\": \"9\"}\n{\"seconds\": -9}\n[1]\n"
                                     << std::string(1000, '[') << "\n{\"seconds\": 1}\n{\"seconds\": 5";
  EXPECT_EQ(save_time_so_far(run.path()), Seconds(2));
  EXPECT_EQ(SaveTimes(run.path()).p99(kUnknown), Seconds(2));
}

TEST(SaveTimes, WhoHasNoLeaseChangesNothing) {
  const test::TempDir run;
  EXPECT_EQ(save_time_so_far(run.path()), Seconds(0));
  EXPECT_FALSE(std::filesystem::exists(run / "saves.jsonl"));
  std::ofstream(run / "saves.jsonl") << "{\"seconds\": 2}\n{\"seconds\": 5";
  const std::uintmax_t bytes = std::filesystem::file_size(run / "saves.jsonl");
  EXPECT_EQ(save_time_so_far(run.path()), Seconds(2));
  EXPECT_EQ(std::filesystem::file_size(run / "saves.jsonl"), bytes);
}

TEST(SaveTimes, StorageMayStandStillForTenMinutesAndBeAsSlowAsEver) {
  EXPECT_GE(storage_limit(Seconds(0)), Seconds(600));
  EXPECT_GE(storage_limit(Seconds(1000)), Seconds(10000));
}

TEST(SaveTimes, ARankIsMissedLongBeforeItsStorage) {
  EXPECT_EQ(silence_limit(Seconds(60), 0), Seconds(60));
  EXPECT_LT(silence_limit(Seconds(60), std::int64_t{2} << 30), storage_limit(Seconds(0)) / 10);
}

TEST(SaveTimes, AGuessGrowsWithTheBytes) {
  EXPECT_GT(assumed_save_time(0), Seconds(0));
  EXPECT_GT(assumed_save_time(std::int64_t{1} << 40), assumed_save_time(std::int64_t{1} << 30));
  EXPECT_GT(assumed_copy_time(std::int64_t{1} << 40), assumed_copy_time(std::int64_t{1} << 30));
}

}  // namespace
}  // namespace banyan::job
