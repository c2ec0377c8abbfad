#include "src/parallel/fill.hpp"

#include <gtest/gtest.h>

#include "src/parallel/play.hpp"

namespace banyan::parallel {
namespace {

/// Of stages that are alike: what is played beyond the work of one, beside the passes of all others.
double played_share(ScheduleKind kind, int stages, int chunks, int microbatches, const PassTicks& t) {
  std::vector<std::vector<Action>> all;
  for (int s = 0; s < stages; ++s) {
    ScheduleArgs args{
        .kind = kind, .stages = stages, .stage = s, .microbatches = microbatches, .parts = {}, .ticks = t};
    args.parts.assign(static_cast<std::size_t>(chunks), 1);
    all.push_back(make_schedule(args));
  }
  const ActionCost cost = [&](int, const Action& a) {
    if (a.kind == ActionKind::kForward) return static_cast<double>(t.forward);
    if (a.kind == ActionKind::kBackward) return static_cast<double>(t.input + t.weights);
    if (a.kind == ActionKind::kBackwardInput) return static_cast<double>(t.input);
    return a.kind == ActionKind::kBackwardWeights ? static_cast<double>(t.weights) : 0.0;
  };
  const double stage = chunks * (t.forward + t.input + t.weights);
  return (play(all, cost, 0).makespan - microbatches * stage) / (stage * (stages - 1));
}

TEST(FillShare, IsThatOfThePlayedSchedule) {
  for (const PassTicks& ticks : {PassTicks{100, 100, 100}, PassTicks{100, 115, 90}, PassTicks{100, 140, 100}})
    for (int stages = 2; stages <= 8; ++stages)
      for (int microbatches : {1, 2, 5, stages, 2 * stages, 4 * stages}) {
        SCOPED_TRACE(testing::Message() << stages << " stages, " << microbatches << " microbatches, " << ticks.input);
        const auto expect_played = [&](ScheduleKind kind, int chunks) {
          EXPECT_NEAR(fill_share(kind, stages, chunks, microbatches, ticks),
                      played_share(kind, stages, chunks, microbatches, ticks), 1e-9)
              << "kind " << static_cast<int>(kind);
        };
        expect_played(ScheduleKind::kGpipe, 1);
        expect_played(ScheduleKind::k1F1B, 1);
        expect_played(ScheduleKind::kZbH1, 1);
        expect_played(ScheduleKind::kZbV, 2);
        if (microbatches % stages != 0) continue;
        expect_played(ScheduleKind::kInterleaved, 2);
        expect_played(ScheduleKind::kInterleaved, 3);
      }
}

// Each is worth having; a V the most.
TEST(FillShare, FallsFromScheduleToSchedule) {
  const PassTicks ticks{100, 115, 90};
  for (int stages = 2; stages <= 8; ++stages) {
    const double h1 = fill_share(ScheduleKind::kZbH1, stages, 1, 4 * stages, ticks);
    EXPECT_LT(h1, fill_share(ScheduleKind::kInterleaved, stages, 2, 4 * stages, ticks));
    EXPECT_LT(fill_share(ScheduleKind::kZbV, stages, 2, 4 * stages, ticks), h1);
  }
}

// What is left out of the play is little beside a step.
TEST(FillShare, OfManyMicrobatchesInAVIsAlmostThatOfFew) {
  const PassTicks ticks{100, 115, 90};
  for (int stages : {2, 4, 8}) {
    const int microbatches = 16 * stages;
    const double few = fill_share(ScheduleKind::kZbV, stages, 2, microbatches, ticks);
    EXPECT_NEAR(few, played_share(ScheduleKind::kZbV, stages, 2, microbatches, ticks),
                0.01 * microbatches / (stages - 1));
  }
}

TEST(FillShare, OfOneStageIsNoMatter) { EXPECT_EQ(fill_share(ScheduleKind::k1F1B, 1, 1, 3, {}), 1); }

}  // namespace
}  // namespace banyan::parallel
