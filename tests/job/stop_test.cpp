#include "src/job/stop.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <set>
#include <string>

#include "src/base/signals.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::job {
namespace {

class Stop : public testing::Test {
 protected:
  Stop() {
    signals::reset();
    options_.run_dir = run_.path();
    options_.root = true;
    options_.started = Clock::now();
    options_.look_every = Seconds(0);
  }
  ~Stop() override { signals::reset(); }

  test::TempDir run_;
  StopOptions options_;
};

constexpr Seconds kSoon{1}, kHour{3600};

TEST_F(Stop, NobodyAsks) { EXPECT_EQ(StopWatch(options_).vote(1, kSoon), StopReason::kNone); }

TEST_F(Stop, TheHaltFileMayChangeWhileTheJobRuns) {
  StopWatch watch(options_);
  write_halt(run_.path(), {10});
  EXPECT_EQ(watch.vote(9, kSoon), StopReason::kNone);
  write_halt(run_.path(), {20});
  EXPECT_EQ(watch.vote(10, kSoon), StopReason::kNone);
  remove_halt(run_.path());
  EXPECT_EQ(watch.vote(20, kSoon), StopReason::kNone);
  write_halt(run_.path(), {});
  EXPECT_EQ(watch.vote(21, kSoon), StopReason::kHaltFile);
}

TEST_F(Stop, AnOldLookIsRenewedBeforeItIsObeyed) {
  options_.look_every = kHour;
  StopWatch watch(options_);
  write_halt(run_.path(), {10});
  EXPECT_EQ(watch.vote(1, kSoon), StopReason::kNone) << "this was the look of the hour";
  write_halt(run_.path(), {20});
  EXPECT_EQ(watch.vote(10, kSoon), StopReason::kNone);
  EXPECT_EQ(watch.vote(20, kSoon), StopReason::kHaltFile);
}

TEST_F(Stop, OnlyRankZeroLooksAtFileAndClock) {
  write_halt(run_.path(), {});
  options_.root = false;
  options_.batch_end = Clock::now();
  options_.max_time = Seconds(1e-9);
  StopWatch watch(options_);
  EXPECT_EQ(watch.vote(1, kSoon), StopReason::kNone);
  signals::request_stop(SIGUSR1);
  EXPECT_EQ(watch.vote(1, kSoon), StopReason::kSignal);
}

TEST_F(Stop, AWishOfAPersonComesBeforeASignal) {
  signals::request_stop(SIGTERM);
  write_halt(run_.path(), {});
  EXPECT_EQ(StopWatch(options_).vote(1, kSoon), StopReason::kHaltFile);
}

TEST_F(Stop, LeavesWhileThereIsTime) {
  options_.batch_end = Clock::now() + std::chrono::hours(1);
  StopWatch watch(options_);
  EXPECT_EQ(watch.vote(1, Seconds(1800)), StopReason::kNone);
  EXPECT_EQ(watch.vote(1, kHour), StopReason::kTimeLimit);
}

TEST_F(Stop, MaxTimeCountsFromTheStart) {
  options_.max_time = kHour;
  EXPECT_EQ(StopWatch(options_).vote(1, kSoon), StopReason::kNone);
  options_.started = Clock::now() - std::chrono::hours(2);
  EXPECT_EQ(StopWatch(options_).vote(1, kSoon), StopReason::kMaxTime);
}

TEST_F(Stop, LeavingTakesAwayWhatWasObeyedOnly) {
  const StopWatch watch(options_);
  watch.leave(5);  // nothing there
  write_halt(run_.path(), {10});
  watch.leave(9);
  EXPECT_TRUE(read_halt(run_.path()));
  watch.leave(10);
  EXPECT_FALSE(read_halt(run_.path()));
  std::ofstream(run_ / "stop").close();
  watch.leave(1);
  EXPECT_FALSE(read_halt(run_.path()));
}

TEST_F(Stop, EveryReasonHasItsWords) {
  std::set<std::string_view> names, sentences;
  for (int r = 0; r < kStopReasons; ++r) {
    names.insert(name_of(static_cast<StopReason>(r)));
    sentences.insert(sentence_of(static_cast<StopReason>(r)));
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(kStopReasons));
  EXPECT_EQ(sentences.size(), static_cast<std::size_t>(kStopReasons));
  EXPECT_EQ(name_of(StopReason::kNone), "");
  EXPECT_EQ(name_of(StopReason::kMaxTime), "max-time");
}

}  // namespace
}  // namespace banyan::job
