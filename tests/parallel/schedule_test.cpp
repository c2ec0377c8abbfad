#include "src/parallel/schedule.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "src/parallel/play.hpp"

namespace banyan::parallel {
namespace {

using Schedules = std::vector<std::vector<Action>>;

/// Number of backward parts of a stage: all alike, or different on every stage.
int parts_of(int stage, int parts, bool uneven) { return uneven ? 1 + (stage * 5 + parts) % 4 : parts; }

Schedules make_all(ScheduleKind kind, int stages, int microbatches, int parts, bool uneven = false) {
  Schedules all;
  for (int s = 0; s < stages; ++s)
    all.push_back(make_schedule({.kind = kind,
                                 .stages = stages,
                                 .stage = s,
                                 .microbatches = microbatches,
                                 .parts = parts_of(s, parts, uneven)}));
  return all;
}

template <class Check>
void for_all(Check check) {
  for (ScheduleKind kind : {ScheduleKind::kGpipe, ScheduleKind::k1F1B})
    for (int stages = 1; stages <= 8; ++stages)
      for (int microbatches = 1; microbatches <= 16; ++microbatches)
        for (int parts = 1; parts <= 4; ++parts) {
          SCOPED_TRACE(testing::Message() << (kind == ScheduleKind::kGpipe ? "gpipe" : "1f1b") << " stages " << stages
                                          << " microbatches " << microbatches << " parts " << parts);
          check(kind, stages, microbatches, parts);
        }
}

/// Every action another, reproducible cost between 0 and 1.
ActionCost random_cost(std::uint64_t seed) {
  return [seed](int stage, const Action& a) {
    const std::uint64_t key =
        rng::mix(rng::mix(seed, static_cast<std::uint64_t>(stage)), static_cast<std::uint64_t>(a.kind));
    return static_cast<double>(rng::uniform(
        static_cast<std::uint32_t>(rng::mix(key, static_cast<std::uint64_t>(a.microbatch * 64 + a.part)))));
  };
}

TEST(Schedule, NeverDeadlocksNorBreaksARuleWhateverTheCosts) {
  for_all([](ScheduleKind kind, int stages, int microbatches, int parts) {
    for (bool uneven : {false, true}) {
      const Schedules all = make_all(kind, stages, microbatches, parts, uneven);
      for (std::uint64_t seed = 0; seed < 3; ++seed)
        EXPECT_NO_THROW(play(all, random_cost(seed), static_cast<double>(seed) * 0.7));
    }
  });
}

TEST(Schedule, UsesTheSlotsItSaysAndNoMore) {
  for_all([](ScheduleKind kind, int stages, int microbatches, int parts) {
    for (int s = 0; s < stages; ++s) {
      const ScheduleArgs args{.kind = kind, .stages = stages, .stage = s, .microbatches = microbatches, .parts = parts};
      std::set<int> slots;
      for (const Action& a : make_schedule(args)) slots.insert(a.slot);
      EXPECT_EQ(static_cast<int>(slots.size()), slots_needed(args));
      EXPECT_EQ(*slots.begin(), 0);
      EXPECT_EQ(*slots.rbegin(), slots_needed(args) - 1);
    }
  });
}

TEST(Schedule, LeavesTheBubbleOfTheLiterature) {
  for_all([](ScheduleKind kind, int stages, int microbatches, int parts) {
    const Schedules all = make_all(kind, stages, microbatches, parts);
    const Timeline t = play(all, uniform_cost(1, 2, parts), 0);
    EXPECT_NEAR(t.bubble_share(), (stages - 1.0) / (microbatches + stages - 1.0), 1e-9);
  });
}

TEST(Schedule, RunsBackwardPassesInTheOrderOfTheMicrobatches) {
  for_all([](ScheduleKind kind, int stages, int microbatches, int parts) {
    for (const std::vector<Action>& actions : make_all(kind, stages, microbatches, parts)) {
      int next = 0;
      for (const Action& a : actions)
        if (a.kind == ActionKind::kBackward) {
          EXPECT_EQ(a.microbatch * parts + a.part, next++);
        }
      EXPECT_EQ(next, microbatches * parts);
    }
  });
}

TEST(Schedule, ReducesEveryBucketOnceAfterTheLastMicrobatch) {
  for_all([](ScheduleKind kind, int stages, int microbatches, int parts) {
    for (const std::vector<Action>& actions : make_all(kind, stages, microbatches, parts)) {
      int bucket = 0;
      for (const Action& a : actions)
        if (a.kind == ActionKind::kReduceBucket) {
          EXPECT_EQ(a.part, bucket++);
          EXPECT_EQ(a.microbatch, microbatches - 1);
        }
      EXPECT_EQ(bucket, parts);
    }
  });
}

TEST(Schedule, OneStageSendsNothing) {
  for (const Action& a : make_schedule({.microbatches = 3, .parts = 2}))
    EXPECT_TRUE(a.kind == ActionKind::kLoad || a.kind == ActionKind::kForward || a.kind == ActionKind::kBackward ||
                a.kind == ActionKind::kReduceBucket)
        << describe(a);
}

TEST(ForwardSchedule, PlaysWithAnyNumberOfSlots) {
  for (int stages = 1; stages <= 8; ++stages)
    for (int microbatches = 1; microbatches <= 16; ++microbatches)
      for (int slots = 1; slots <= 3; ++slots) {
        Schedules all;
        for (int s = 0; s < stages; ++s) all.push_back(make_forward_schedule(stages, s, microbatches, slots));
        EXPECT_NO_THROW(play(all, random_cost(1), 0.3));
        const Timeline t = play(all, uniform_cost(1, 0), 0);
        if (slots > 1 || stages == 1) {
          EXPECT_NEAR(t.makespan, microbatches + stages - 1.0, 1e-9);
        }
      }
}

TEST(Schedule, RefusesArgumentsThatMakeNoSense) {
  EXPECT_THROW(make_schedule({.microbatches = 0}), BugError);
  EXPECT_THROW(make_schedule({.stages = 2, .stage = 2}), BugError);
  EXPECT_THROW(make_schedule({.parts = 0}), BugError);
  EXPECT_THROW(make_forward_schedule(1, 0, 1, 0), BugError);
}

}  // namespace
}  // namespace banyan::parallel
