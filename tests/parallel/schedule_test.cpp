#include "src/parallel/schedule.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "src/parallel/play.hpp"

namespace banyan::parallel {
namespace {

using Schedules = std::vector<std::vector<Action>>;

/// What a pipeline is made of.
struct Case {
  ScheduleKind kind;
  int stages, chunks, microbatches, parts;
  bool uneven = false;  ///< backward parts differ from chunk to chunk
  PassTicks ticks{};

  ScheduleArgs of(int stage) const {
    ScheduleArgs args{.kind = kind, .stages = stages, .stage = stage, .microbatches = microbatches, .parts = {}};
    args.ticks = ticks;
    for (int c = 0; c < chunks; ++c) args.parts.push_back(uneven ? 1 + (stage * 5 + c * 3 + parts) % 4 : parts);
    return args;
  }
};

Schedules make_all(const Case& c) {
  Schedules all;
  for (int s = 0; s < c.stages; ++s) all.push_back(make_schedule(c.of(s)));
  return all;
}

bool has_chunks(ScheduleKind kind) { return kind == ScheduleKind::kInterleaved || kind == ScheduleKind::kZbV; }

template <class Check>
void for_all(Check check) {
  for (ScheduleKind kind :
       {ScheduleKind::kGpipe, ScheduleKind::k1F1B, ScheduleKind::kInterleaved, ScheduleKind::kZbH1, ScheduleKind::kZbV})
    for (int stages = has_chunks(kind) ? 2 : 1; stages <= 8; ++stages)
      for (int chunks : kind == ScheduleKind::kInterleaved ? std::vector<int>{2, 3, 4}
                        : kind == ScheduleKind::kZbV       ? std::vector<int>{2}
                                                           : std::vector<int>{1})
        for (int microbatches = 1; microbatches <= (chunks > 1 ? 12 : 16); ++microbatches)
          for (int parts : chunks > 1 ? std::vector<int>{1, 2} : std::vector<int>{1, 2, 3, 4}) {
            SCOPED_TRACE(testing::Message() << "kind " << static_cast<int>(kind) << " stages " << stages << " chunks "
                                            << chunks << " microbatches " << microbatches << " parts " << parts);
            check(Case{kind, stages, chunks, microbatches, parts});
          }
}

/// Every action another, reproducible cost between 0 and 1.
ActionCost random_cost(std::uint64_t seed) {
  return [seed](int stage, const Action& a) {
    const std::uint64_t key =
        rng::mix(rng::mix(seed, static_cast<std::uint64_t>(stage)), static_cast<std::uint64_t>(a.kind));
    return static_cast<double>(rng::uniform(static_cast<std::uint32_t>(
        rng::mix(key, static_cast<std::uint64_t>((a.chunk * 64 + a.microbatch) * 64 + a.part)))));
  };
}

TEST(Schedule, NeverDeadlocksNorBreaksARuleWhateverTheCosts) {
  for_all([](Case c) {
    for (bool uneven : {false, true}) {
      c.uneven = uneven;
      const Schedules all = make_all(c);
      for (std::uint64_t seed = 0; seed < (c.chunks > 1 ? 2 : 3); ++seed)
        EXPECT_NO_THROW(play(all, random_cost(seed), static_cast<double>(seed) * 0.7));
    }
  });
}

TEST(Schedule, UsesTheSlotsItSaysAndNoMore) {
  for_all([](const Case& c) {
    for (int s = 0; s < c.stages; ++s) {
      std::set<int> slots;
      for (const Action& a : make_schedule(c.of(s))) slots.insert(a.slot);
      EXPECT_EQ(static_cast<int>(slots.size()), slots_needed(c.of(s)));
      EXPECT_EQ(*slots.begin(), 0);
      EXPECT_EQ(*slots.rbegin(), slots_needed(c.of(s)) - 1);
    }
  });
}

TEST(Schedule, KeepsNoMoreMicrobatchesThanTheLiterature) {
  for_all([](const Case& c) {
    for (int s = 0; s < c.stages; ++s) {
      const int needed = slots_needed(c.of(s)), behind = c.stages - 1 - s;
      if (c.microbatches > 1) {
        Case fewer = c;
        --fewer.microbatches;
        EXPECT_LE(slots_needed(fewer.of(s)), needed);  // audits compute for data ranks that have one less
      }
      if (c.kind == ScheduleKind::kGpipe) {
        EXPECT_EQ(needed, c.microbatches);
      } else if (c.kind == ScheduleKind::k1F1B) {
        EXPECT_EQ(needed, std::min(c.microbatches, behind + 1));
      } else if (c.kind == ScheduleKind::kZbH1) {
        EXPECT_EQ(needed, std::min(c.microbatches, c.stages));
      } else if (c.kind == ScheduleKind::kZbV) {
        EXPECT_LE(needed, 2 * std::min(c.microbatches, c.stages));
      } else {
        EXPECT_LE(needed, std::min(c.microbatches * c.chunks, 2 * behind + (c.chunks - 1) * c.stages + 1));
      }
    }
  });
}

// Interleaving divides the bubble by the number of chunks where microbatches come in groups of as many as stages; the
// rest of a group takes no longer than a whole one.
TEST(Schedule, LeavesTheBubbleOfTheLiterature) {
  for_all([](const Case& c) {
    if (splits_backward(c.kind)) return;
    const Timeline t = play(make_all(c), uniform_cost(1, 2, c.parts), 0);
    const auto seconds = [&](int microbatches) { return 3.0 * (microbatches * c.chunks + c.stages - 1); };
    if (c.chunks == 1 || c.microbatches % c.stages == 0) {
      EXPECT_NEAR(t.makespan, seconds(c.microbatches), 1e-9);
      EXPECT_NEAR(t.bubble_share(), (c.stages - 1.0) / (c.microbatches * c.chunks + c.stages - 1.0), 1e-9);
    } else {
      EXPECT_GE(t.makespan, seconds(c.microbatches) - 1e-9);
      EXPECT_LE(t.makespan, seconds((c.microbatches + c.stages - 1) / c.stages * c.stages) + 1e-9);
    }
  });
}

// Forward pass f, gradients of the input b and of the weights w; of a stage with two chunks in a V the halves of them.
TEST(Schedule, SplitBackwardPassesFillTheBubble) {
  for_all([](const Case& c) {
    if (!splits_backward(c.kind)) return;
    const double f = 1, b = 1.25, w = 0.75;
    const ActionCost cost = [&](int, const Action& a) {
      if (a.kind == ActionKind::kForward) return f;
      if (a.kind == ActionKind::kBackwardInput) return b;
      return a.kind == ActionKind::kBackwardWeights ? w / c.parts : 0;
    };
    const double work = c.microbatches * c.chunks * (f + b + w);
    const Timeline t = play(make_all(c), cost, 0);
    EXPECT_GE(t.makespan, work - 1e-9);
    if (c.microbatches < c.stages) return;
    if (c.kind == ScheduleKind::kZbH1) {
      // Qi et al., table 1: a third of 1F1B's where all passes cost the same.
      EXPECT_NEAR(t.makespan, work + (c.stages - 1) * (f + b - w), 1e-9);
      return;
    }
    // The way of the first microbatch to the last stage is all that is left of passes that cost the same, and another
    // such way where the greedy order is not the best one; no more than ZB-H1 leaves.
    const Timeline even = play(make_all(c), uniform_cost(1, 2, c.parts), 0);
    EXPECT_GE(even.makespan, 3.0 * c.chunks * c.microbatches + (c.stages - 1) - 1e-9);
    EXPECT_LE(even.makespan, 3.0 * c.chunks * c.microbatches + 2 * (c.stages - 1) + 1e-9);
    // Of others the order is made for their times.
    Case fitted = c;
    fitted.ticks = {4, 5, 3};
    EXPECT_LT(play(make_all(fitted), cost, 0).makespan, work + 0.7 * 2 * (c.stages - 1) * (f + b + w));
  });
}

TEST(Schedule, RunsBackwardPassesOfAChunkInTheOrderOfTheMicrobatches) {
  for_all([](const Case& c) {
    for (const std::vector<Action>& actions : make_all(c)) {
      std::map<int, int> next, inputs;
      for (const Action& a : actions) {
        if (a.kind == ActionKind::kBackwardInput) {
          EXPECT_EQ(a.microbatch, inputs[a.chunk]++);
        }
        if (a.kind == ActionKind::kBackward || a.kind == ActionKind::kBackwardWeights) {
          EXPECT_EQ(a.microbatch * c.parts + a.part - (c.chunks - 1 - a.chunk) * c.parts, next[a.chunk]++);
        }
      }
      for (int chunk = 0; chunk < c.chunks; ++chunk) EXPECT_EQ(next[chunk], c.microbatches * c.parts);
    }
  });
}

TEST(Schedule, ReducesEveryBucketOnceAfterTheLastMicrobatch) {
  for_all([](const Case& c) {
    for (const std::vector<Action>& actions : make_all(c)) {
      int bucket = 0;
      for (const Action& a : actions)
        if (a.kind == ActionKind::kReduceBucket) {
          EXPECT_EQ(a.part, bucket++);
          EXPECT_EQ(a.microbatch, c.microbatches - 1);
        }
      EXPECT_EQ(bucket, c.parts * c.chunks);
    }
  });
}

TEST(Schedule, GoesRoundTheStagesOncePerChunk) {
  constexpr ScheduleKind kind = ScheduleKind::kInterleaved;
  EXPECT_EQ(place_of(kind, 4, 2, 0), 2);
  EXPECT_EQ(place_of(kind, 4, 2, 2), 10);
  for (int place = 0; place < 12; ++place) EXPECT_EQ(place_of(kind, 4, stage_of(kind, 4, place), place / 4), place);
}

TEST(Schedule, ComesBackInAV) {
  constexpr ScheduleKind kind = ScheduleKind::kZbV;
  EXPECT_EQ(stage_of(kind, 4, 3), 3);
  EXPECT_EQ(stage_of(kind, 4, 4), 3);
  EXPECT_EQ(stage_of(kind, 4, 7), 0);
  for (int place = 0; place < 8; ++place) EXPECT_EQ(place_of(kind, 4, stage_of(kind, 4, place), place / 4), place);
}

TEST(Schedule, OneStageSendsNothing) {
  for (const Action& a : make_schedule({.microbatches = 3, .parts = {2}}))
    EXPECT_TRUE(a.kind == ActionKind::kLoad || a.kind == ActionKind::kForward || a.kind == ActionKind::kBackward ||
                a.kind == ActionKind::kReduceBucket)
        << describe(a);
}

TEST(ForwardSchedule, PlaysWithAnyNumberOfSlots) {
  for (int stages = 1; stages <= 8; ++stages)
    for (int microbatches = 1; microbatches <= 16; ++microbatches)
      for (int slots = 1; slots <= 3; ++slots) {
        Schedules all;
        for (int s = 0; s < stages; ++s)
          all.push_back(make_forward_schedule({.stages = stages, .stage = s, .microbatches = microbatches}, slots));
        EXPECT_NO_THROW(play(all, random_cost(1), 0.3));
        const Timeline t = play(all, uniform_cost(1, 0), 0);
        if (slots > 1 || stages == 1) {
          EXPECT_NEAR(t.makespan, microbatches + stages - 1.0, 1e-9);
        }
      }
}

// Evaluation in the middle of training, with the slots that training has.
TEST(ForwardSchedule, PlaysWithTheSlotsOfTraining) {
  for_all([](const Case& c) {
    if (c.parts > 1) return;
    for (int microbatches : {1, c.microbatches, 3 * c.microbatches + 1}) {
      Schedules all;
      for (int s = 0; s < c.stages; ++s) {
        ScheduleArgs args = c.of(s);
        const int slots = slots_needed(args);
        args.microbatches = microbatches;
        all.push_back(make_forward_schedule(args, slots));
      }
      EXPECT_NO_THROW(play(all, random_cost(1), 0.3));
    }
  });
}

TEST(Schedule, RefusesArgumentsThatMakeNoSense) {
  EXPECT_THROW(make_schedule({.microbatches = 0}), BugError);
  EXPECT_THROW(make_schedule({.stages = 2, .stage = 2}), BugError);
  EXPECT_THROW(make_schedule({.parts = {0}}), BugError);
  EXPECT_THROW(make_schedule({.parts = {}}), BugError);
  EXPECT_THROW(make_schedule({.kind = ScheduleKind::kInterleaved, .stages = 2}), BugError);
  EXPECT_THROW(make_schedule({.kind = ScheduleKind::kInterleaved, .parts = {1, 1}}), BugError);
  EXPECT_THROW(make_schedule({.stages = 2, .parts = {1, 1}}), BugError);
  EXPECT_THROW(make_schedule({.kind = ScheduleKind::kZbV, .stages = 2}), BugError);
  EXPECT_THROW(make_schedule({.kind = ScheduleKind::kZbV, .parts = {1, 1}}), BugError);
  EXPECT_THROW(make_schedule({.kind = ScheduleKind::kZbH1, .stages = 2, .parts = {1, 1}}), BugError);
  EXPECT_THROW(make_schedule({.ticks = {1, 0, 1}}), BugError);
  EXPECT_THROW(make_forward_schedule({}, 0), BugError);
}

}  // namespace
}  // namespace banyan::parallel
