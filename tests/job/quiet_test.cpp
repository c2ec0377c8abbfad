#include "src/job/quiet.hpp"

#include <gtest/gtest.h>

namespace banyan::job {
namespace {

constexpr Seconds kFloor{60};

/// A rank on a clock of its own, looked at every half second.
class Rank {
 public:
  void enter(Phase phase) {
    signs_.left |= 1u << static_cast<unsigned>(signs_.phase);
    signs_.phase = phase;
    ++signs_.phases;
  }
  void sign() { ++signs_.life; }
  /// The rank does something for so long without a sign; true when that was too long.
  bool works(Seconds time) {
    for (Seconds done{0}; done < time; done += kEvery) {
      look(kEvery);
      if (quiet_.expired()) return true;
    }
    return false;
  }
  void look(Seconds after) {
    now_ += std::chrono::duration_cast<Clock::duration>(after);
    quiet_.look(signs_, now_);
  }
  const Quiet& quiet() const { return quiet_; }

 private:
  static constexpr Seconds kEvery{0.5};
  Clock::time_point now_{};
  Signs signs_;
  Quiet quiet_{kFloor, now_};
};

TEST(Quiet, WhatWasNeverLeftHasLongTime) {
  Rank rank;
  rank.enter(Phase::kSetup);
  EXPECT_FALSE(rank.works(Quiet::kUnseen * kFloor - Seconds{1}));
  EXPECT_TRUE(rank.works(Seconds{3}));
}

TEST(Quiet, SignsOfLifeInsideAPhaseDoNotMakeItKnown) {
  Rank rank;
  rank.enter(Phase::kStep);
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(rank.works(Seconds{2}));
    rank.sign();
  }
  EXPECT_FALSE(rank.works(Quiet::kUnseen * kFloor - Seconds{1}));
}

TEST(Quiet, ThenTheFloorHoldsUntilSomethingTookLonger) {
  Rank rank;
  rank.enter(Phase::kStep);
  rank.works(Seconds{2});
  rank.enter(Phase::kStep);
  rank.look(Seconds{0.5});
  EXPECT_EQ(rank.quiet().limit(), kFloor);
  EXPECT_FALSE(rank.works(Seconds{40}));
  rank.sign();
  rank.look(Seconds{0.5});
  EXPECT_EQ(rank.quiet().limit(), Quiet::kTimes * Seconds{40.5});
  EXPECT_FALSE(rank.works(Quiet::kTimes * Seconds{40}));
  EXPECT_TRUE(rank.works(Seconds{10}));
  EXPECT_GT(rank.quiet().quiet(), rank.quiet().limit());
}

TEST(Quiet, WhatWasLeftBetweenTwoLooksIsKnown) {
  Rank rank;
  for (int step = 0; step < 3; ++step) {
    rank.enter(Phase::kStep);
    rank.enter(Phase::kNone);
  }
  rank.enter(Phase::kStep);
  EXPECT_FALSE(rank.works(kFloor - Seconds{1}));
  EXPECT_EQ(rank.quiet().limit(), kFloor);
  EXPECT_TRUE(rank.works(Seconds{3}));
}

TEST(Quiet, EachPhaseLearnsForItself) {
  Rank rank;
  for (const Phase phase : {Phase::kSave, Phase::kStep, Phase::kSave, Phase::kStep}) {
    rank.enter(phase);
    EXPECT_FALSE(rank.works(Seconds{phase == Phase::kSave ? 200 : 1}));
  }
  EXPECT_EQ(rank.quiet().limit(), kFloor);
  rank.enter(Phase::kSave);
  rank.look(Seconds{0.5});
  EXPECT_EQ(rank.quiet().limit(), Quiet::kTimes * Seconds{200});
}

TEST(Quiet, StorageGetsMoreTime) {
  Rank rank;
  rank.enter(Phase::kSave);
  rank.works(Seconds{1});
  rank.enter(Phase::kSave);
  rank.look(Seconds{0.5});
  EXPECT_EQ(rank.quiet().limit(), Quiet::kStorage * kFloor);
}

TEST(Quiet, OutsideOfPhasesNothingIsTooLong) {
  Rank rank;
  EXPECT_FALSE(rank.works(Seconds{100000}));
  rank.enter(Phase::kStep);
  rank.look(Seconds{0.5});
  rank.enter(Phase::kNone);
  EXPECT_FALSE(rank.works(Seconds{100000}));
}

// SIGSTOP stops who looks, too: hours later nothing has happened, and nothing was learned from it.
TEST(Quiet, ATimeInWhichNobodyLookedDoesNotCount) {
  Rank rank;
  rank.enter(Phase::kStep);
  rank.works(Seconds{1});
  rank.enter(Phase::kStep);
  rank.look(Seconds{0.5});
  rank.look(Seconds{36000});
  EXPECT_FALSE(rank.quiet().expired());
  EXPECT_EQ(rank.quiet().quiet(), Quiet::kLongestLook);
  rank.sign();
  rank.look(Seconds{36000});
  EXPECT_EQ(rank.quiet().limit(), kFloor);
}

TEST(Quiet, AClockThatStandsStillIsNoHarm) {
  Rank rank;
  rank.enter(Phase::kStep);
  for (int i = 0; i < 1000; ++i) rank.look(Seconds{0});
  EXPECT_EQ(rank.quiet().quiet(), Seconds{0});
}

TEST(Quiet, PhasesHaveNames) {
  EXPECT_EQ(name_of(Phase::kSetup), "setup");
  EXPECT_EQ(name_of(Phase::kSave), "save");
}

}  // namespace
}  // namespace banyan::job
