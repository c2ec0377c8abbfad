#include "src/parallel/play.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "src/base/error.hpp"

namespace banyan::parallel {
namespace {

using Schedules = std::vector<std::vector<Action>>;

Schedules two_stages(int microbatches = 3, int parts = 2) {
  return {make_schedule({.stages = 2, .stage = 0, .microbatches = microbatches, .parts = {parts}}),
          make_schedule({.stages = 2, .stage = 1, .microbatches = microbatches, .parts = {parts}})};
}

void expect_refused(const Schedules& schedules, const std::string& words) {
  try {
    play(schedules, uniform_cost(1, 2), 0);
    FAIL() << "played, expected: " << words;
  } catch (const BugError& e) {
    EXPECT_NE(std::string(e.what()).find(words), std::string::npos) << e.what();
  }
}

std::size_t find(const std::vector<Action>& actions, ActionKind kind, int microbatch, int part = 0) {
  const auto it = std::find_if(actions.begin(), actions.end(), [&](const Action& a) {
    return a.kind == kind && a.microbatch == microbatch && a.part == part;
  });
  EXPECT_NE(it, actions.end());
  return static_cast<std::size_t>(it - actions.begin());
}

void erase(std::vector<Action>& actions, ActionKind kind, int microbatch, int part = 0) {
  actions.erase(actions.begin() + static_cast<std::ptrdiff_t>(find(actions, kind, microbatch, part)));
}

TEST(Play, NamesWhoWaitsForWhomInADeadlock) {
  Schedules s = two_stages();
  erase(s[0], ActionKind::kSendActivation, 2);
  // Stage 0 goes on to a gradient that cannot come without its activation.
  expect_refused(s, "activation was not sent");
  s = two_stages();
  erase(s[1], ActionKind::kSendGradient, 2);
  expect_refused(s, "deadlock; stage 0 waits in receive of the gradient of microbatch 2");
}

TEST(Play, RefusesABusySlot) {
  Schedules s = two_stages();
  for (Action& a : s[0]) a.slot = 0;
  expect_refused(s, "slot is busy");
}

TEST(Play, RefusesComputingBeforeTheInput) {
  Schedules s = two_stages();
  erase(s[1], ActionKind::kReceiveActivation, 1);
  expect_refused(s, "input was not received");
  s = two_stages();
  erase(s[0], ActionKind::kReceiveGradient, 0);
  expect_refused(s, "gradient was not received");
  s = two_stages();
  erase(s[0], ActionKind::kForward, 0);
  expect_refused(s, "not computed");
}

TEST(Play, RefusesMessagesInTheWrongOrder) {
  Schedules s = two_stages(2, 1);
  std::swap(s[0][find(s[0], ActionKind::kSendActivation, 0)].microbatch,
            s[0][find(s[0], ActionKind::kSendActivation, 1)].microbatch);
  EXPECT_THROW(play(s, uniform_cost(1, 2), 0), BugError);
}

TEST(Play, RefusesPartsOutOfOrderAndBucketsThatAreNotComplete) {
  Schedules s = two_stages();
  std::swap(s[1][find(s[1], ActionKind::kBackward, 0, 0)], s[1][find(s[1], ActionKind::kBackward, 0, 1)]);
  expect_refused(s, "parts of a backward pass run in order");
  s = two_stages();
  std::swap(s[1][find(s[1], ActionKind::kBackward, 2, 0)], s[1][find(s[1], ActionKind::kReduceBucket, 2, 0)]);
  expect_refused(s, "has not added to this bucket");
}

TEST(Play, RefusesWhatIsLeftUndone) {
  Schedules s = two_stages();
  erase(s[1], ActionKind::kReduceBucket, 2, 1);
  expect_refused(s, "reduces 1 of 2 buckets");
  s = two_stages();
  s[0].pop_back();
  expect_refused(s, "buckets");
}

TEST(Play, CountsMessagesAndIdleTime) {
  const Timeline t = play(two_stages(1, 1), uniform_cost(1, 2), 0.5);
  // forward, message, forward and backward, message, backward
  EXPECT_DOUBLE_EQ(t.makespan, 1 + 0.5 + 1 + 2 + 0.5 + 2);
  EXPECT_DOUBLE_EQ(t.busy[0], 3);
  EXPECT_DOUBLE_EQ(t.bubble_share(), 1 - 3 / 7.0);
}

TEST(Play, RefusesMessagesToTheWrongStageAndPlacesThatAreTwoStages) {
  Schedules s = two_stages();
  s[0][find(s[0], ActionKind::kSendActivation, 0)].peer = 0;
  expect_refused(s, "with another stage");
  s = two_stages();
  for (Action& a : s[1]) a.place = 0;
  expect_refused(s, "another stage has its place");
  s = two_stages();
  s[1].back().place = 0;
  expect_refused(s, "is at another place");
}

TEST(Play, RefusesASlotThatHoldsAnotherChunk) {
  Schedules s;
  for (int stage = 0; stage < 2; ++stage)
    s.push_back(make_schedule({.kind = ScheduleKind::kInterleaved, .stages = 2, .stage = stage, .parts = {1, 1}}));
  EXPECT_NO_THROW(play(s, uniform_cost(1, 2), 0));
  for (Action& a : s[0]) a.slot = 0;
  expect_refused(s, "slot is busy");
}

TEST(Play, RefusesGradientsOfWeightsBeforeThatOfTheInput) {
  Schedules s;
  for (int stage = 0; stage < 2; ++stage)
    s.push_back(make_schedule({.kind = ScheduleKind::kZbH1, .stages = 2, .stage = stage, .microbatches = 2}));
  EXPECT_EQ(draw(s),
            "stage 0 01.aAbB\n"
            "stage 1 .0a1bAB\n");
  Schedules wrong = s;
  erase(wrong[1], ActionKind::kBackwardInput, 0);
  expect_refused(wrong, "backward pass is not complete");
  wrong = s;
  std::swap(wrong[0][find(wrong[0], ActionKind::kBackwardInput, 1)],
            wrong[0][find(wrong[0], ActionKind::kBackwardWeights, 1)]);
  expect_refused(wrong, "gradient of the input is not there");
  wrong = s;
  erase(wrong[0], ActionKind::kBackwardWeights, 1);
  EXPECT_THROW(play(wrong, uniform_cost(1, 2), 0), BugError);
}

TEST(Draw, ShowsOneLinePerChunkWhereStagesHaveSeveral) {
  Schedules s;
  for (int stage = 0; stage < 2; ++stage)
    s.push_back(make_schedule(
        {.kind = ScheduleKind::kInterleaved, .stages = 2, .stage = stage, .microbatches = 2, .parts = {1, 1}}));
  EXPECT_EQ(draw(s),
            "stage 0 chunk 0 01.........aabb\n"
            "stage 0 chunk 1 ..01..aa.bb....\n"
            "stage 1 chunk 0 .01......aabb..\n"
            "stage 1 chunk 1 ...0aa1bb......\n");
}

TEST(Draw, ShowsOneLinePerStage) {
  EXPECT_EQ(draw(two_stages(3, 2)),
            "stage 0 01..aa2bb.cc\n"
            "stage 1 .0aa1bb2cc..\n");
  EXPECT_EQ(draw(two_stages(3, 2), 5),
            "stage 0 01..a…\n"
            "stage 1 .0aa1…\n");
}

}  // namespace
}  // namespace banyan::parallel
