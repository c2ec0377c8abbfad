#include "src/parallel/schedule.hpp"

#include <algorithm>

#include "src/base/error.hpp"

namespace banyan::parallel {
namespace {

void check(const ScheduleArgs& a) {
  if (a.stages < 1 || a.stage < 0 || a.stage >= a.stages || a.microbatches < 1 || a.parts < 1)
    throw BugError("a schedule of stage {} of {}, {} microbatches, {} backward parts", a.stage, a.stages,
                   a.microbatches, a.parts);
}

/// Writes the actions of one stage, pass by pass.
class Writer {
 public:
  Writer(int stages, int stage, int slots) : stages_(stages), stage_(stage), slots_(slots) {}

  void forward(int microbatch) {
    add(ActionKind::kLoad, microbatch);
    if (stage_ > 0) add(ActionKind::kReceiveActivation, microbatch);
    add(ActionKind::kForward, microbatch);
    if (stage_ + 1 < stages_) add(ActionKind::kSendActivation, microbatch);
  }

  void backward(int microbatch, int parts, bool reduce) {
    if (stage_ + 1 < stages_) add(ActionKind::kReceiveGradient, microbatch);
    for (int part = 0; part < parts; ++part) {
      add(ActionKind::kBackward, microbatch, part);
      // The stage before waits for this gradient, so it leaves before the last bucket is started.
      if (part + 1 == parts && stage_ > 0) add(ActionKind::kSendGradient, microbatch);
      if (reduce) add(ActionKind::kReduceBucket, microbatch, part);
    }
  }

  std::vector<Action> take() { return std::move(actions_); }

 private:
  void add(ActionKind kind, int microbatch, int part = 0) {
    actions_.push_back({.kind = kind, .microbatch = microbatch, .slot = microbatch % slots_, .chunk = 0, .part = part});
  }

  int stages_, stage_, slots_;
  std::vector<Action> actions_;
};

}  // namespace

int slots_needed(const ScheduleArgs& a) {
  check(a);
  return a.kind == ScheduleKind::kGpipe ? a.microbatches : std::min(a.microbatches, a.stages - a.stage);
}

std::vector<Action> make_schedule(const ScheduleArgs& a) {
  const int slots = slots_needed(a);
  Writer w(a.stages, a.stage, slots);
  // A stage runs as many forward passes ahead of its backward passes as it has slots: all of them in GPipe, one for
  // itself and each stage behind it in 1F1B.  From then on every further forward follows a backward.
  int forward = 0;
  for (; forward < slots; ++forward) w.forward(forward);
  for (int backward = 0; backward < a.microbatches; ++backward) {
    w.backward(backward, a.parts, backward + 1 == a.microbatches);
    if (forward < a.microbatches) w.forward(forward++);
  }
  return w.take();
}

std::vector<Action> make_forward_schedule(int stages, int stage, int microbatches, int slots) {
  check({.kind = ScheduleKind::kGpipe, .stages = stages, .stage = stage, .microbatches = microbatches, .parts = 1});
  if (slots < 1) throw BugError("a forward schedule with {} slots", slots);
  Writer w(stages, stage, slots);
  for (int microbatch = 0; microbatch < microbatches; ++microbatch) w.forward(microbatch);
  return w.take();
}

std::string describe(const Action& a) {
  const std::string where = fmt::format("microbatch {} in slot {}", a.microbatch, a.slot);
  switch (a.kind) {
    case ActionKind::kLoad:
      return "load of " + where;
    case ActionKind::kReceiveActivation:
      return "receive of the activation of " + where;
    case ActionKind::kForward:
      return "forward of " + where;
    case ActionKind::kSendActivation:
      return "send of the activation of " + where;
    case ActionKind::kReceiveGradient:
      return "receive of the gradient of " + where;
    case ActionKind::kBackward:
      return fmt::format("backward part {} of {}", a.part, where);
    case ActionKind::kSendGradient:
      return "send of the gradient of " + where;
    case ActionKind::kReduceBucket:
      return fmt::format("reduction of bucket {} after {}", a.part, where);
  }
  return "unknown action";
}

}  // namespace banyan::parallel
