#include "src/parallel/schedule.hpp"

#include <algorithm>
#include <deque>
#include <numeric>

#include "src/base/error.hpp"
#include "src/parallel/v_order.hpp"

namespace banyan::parallel {
namespace {

void check(const ScheduleArgs& a) {
  const bool parts = !a.parts.empty() && std::all_of(a.parts.begin(), a.parts.end(), [](int n) { return n >= 1; });
  if (a.stages < 1 || a.stage < 0 || a.stage >= a.stages || a.microbatches < 1 || !parts || a.ticks.forward < 1 ||
      a.ticks.input < 1 || a.ticks.weights < 1)
    throw BugError("a schedule of stage {} of {}, {} microbatches, {} backward parts in {} chunks", a.stage, a.stages,
                   a.microbatches, std::accumulate(a.parts.begin(), a.parts.end(), 0), a.chunks());
  const bool fits = a.kind == ScheduleKind::kInterleaved ? a.chunks() > 1 && a.stages > 1
                    : a.kind == ScheduleKind::kZbV       ? a.chunks() == 2 && a.stages > 1
                                                         : a.chunks() == 1;
  if (!fits)
    throw BugError(
        "{} stages of {} model chunks: several chunks are for the interleaved schedule, two for ZB-V, which need "
        "several "
        "stages",
        a.stages, a.chunks());
}

/// Forward pass number k of every stage, and backward pass number k: microbatches go through the chunks in groups of as
/// many as there are stages, so that a group has come round when its next chunk is due.
Pass nth_forward(const ScheduleArgs& a, int k) {
  if (a.chunks() == 1) return {PassKind::kForward, k, 0};
  const int group = k / (a.stages * a.chunks()), inside = k % (a.stages * a.chunks());
  return {PassKind::kForward, group * a.stages + inside % a.stages, inside / a.stages};
}
Pass nth_backward(const ScheduleArgs& a, int k, PassKind kind) {
  const Pass p = nth_forward(a, k);
  return {kind, p.microbatch, a.chunks() - 1 - p.chunk};
}
/// Passes in each direction.  The last group is taken as whole, and what is beyond the microbatches left out later:
/// taking passes out of an order that can be executed leaves one that can.
int passes(const ScheduleArgs& a) {
  if (a.chunks() == 1) return a.microbatches;
  return (a.microbatches + a.stages - 1) / a.stages * a.stages * a.chunks();
}

/// Forward passes that a stage does before it begins to take turns: all (GPipe), one for each stage behind it (1F1B and
/// ZB-H1), two for each stage behind it and one for each place until the last chunk (interleaved).
int warm_up(const ScheduleArgs& a) {
  const int behind = a.stages - 1 - a.stage;
  switch (a.kind) {
    case ScheduleKind::kGpipe:
      return passes(a);
    case ScheduleKind::k1F1B:
    case ScheduleKind::kZbH1:
      return std::min(passes(a), behind);
    case ScheduleKind::kInterleaved:
      return std::min(passes(a), 2 * behind + (a.chunks() - 1) * a.stages);
    case ScheduleKind::kZbV:
      break;  // has an order of its own
  }
  throw BugError("a schedule of kind {}", static_cast<int>(a.kind));
}

std::vector<Pass> order(const ScheduleArgs& a) {
  if (a.kind == ScheduleKind::kZbV) return v_order(a.stages, a.stage, a.microbatches, a.ticks);
  std::vector<Pass> list;
  const int all = passes(a), ahead = warm_up(a);
  // ZB-H1: a stage has one microbatch the less in flight for each stage before it, and may keep the gradients of as
  // many microbatches' weights for the end, where it would wait for those stages.
  const bool split = splits_backward(a.kind);
  const int late = split ? a.stage : 0;
  for (int k = 0; k < all + ahead + late; ++k) {
    if (k < all) list.push_back(nth_forward(a, k));
    if (k >= ahead && k < all + ahead)
      list.push_back(nth_backward(a, k - ahead, split ? PassKind::kBackwardInput : PassKind::kBackward));
    if (split && k >= ahead + late) list.push_back(nth_backward(a, k - ahead - late, PassKind::kBackwardWeights));
  }
  std::erase_if(list, [&](const Pass& p) { return p.microbatch >= a.microbatches; });
  return list;
}

std::vector<Pass> forward_order(const ScheduleArgs& a) {
  std::vector<Pass> list;
  if (a.kind == ScheduleKind::kZbV) {
    // Microbatch m is at place p at time 2 m + p, and the two places of a stage are never due at one time.
    for (int time = 0; time < 2 * (a.microbatches + a.stages); ++time)
      for (int chunk = 0; chunk < a.chunks(); ++chunk) {
        const int twice = time - place_of(a.kind, a.stages, a.stage, chunk);
        if (twice >= 0 && twice % 2 == 0 && twice / 2 < a.microbatches)
          list.push_back({PassKind::kForward, twice / 2, chunk});
      }
    return list;
  }
  for (int k = 0; k < passes(a); ++k)
    if (const Pass p = nth_forward(a, k); p.microbatch < a.microbatches) list.push_back(p);
  return list;
}

/// The slot of every pass: for a forward pass the one that has been free for the longest, or a new one.
struct Slots {
  std::vector<int> of_pass;
  int count = 0;
};
Slots hand_out_slots(const ScheduleArgs& a, const std::vector<Pass>& list) {
  Slots slots;
  std::deque<int> free;
  std::vector<int> held(static_cast<std::size_t>(a.chunks()) * static_cast<std::size_t>(a.microbatches));
  for (const Pass& p : list) {
    int& slot = held[static_cast<std::size_t>(p.microbatch) * static_cast<std::size_t>(a.chunks()) +
                     static_cast<std::size_t>(p.chunk)];
    if (p.kind == PassKind::kBackward || p.kind == PassKind::kBackwardWeights) {
      free.push_back(slot);
    } else if (p.kind == PassKind::kBackwardInput) {
      // The slot is kept for the gradients of weights.
    } else if (free.empty()) {
      slot = slots.count++;
    } else {
      slot = free.front();
      free.pop_front();
    }
    slots.of_pass.push_back(slot);
  }
  return slots;
}

/// Writes the actions of one stage, pass by pass.
class Writer {
 public:
  explicit Writer(const ScheduleArgs& args) : a_(args) {
    for (int chunk = 0; chunk < a_.chunks(); ++chunk)
      first_part_.push_back(std::accumulate(a_.parts.begin() + chunk + 1, a_.parts.end(), 0));
  }

  void write(const Pass& p, int slot) {
    const int place = place_of(a_.kind, a_.stages, a_.stage, p.chunk), last = a_.stages * a_.chunks() - 1;
    const auto chunk = static_cast<std::size_t>(p.chunk);
    const auto add = [&](ActionKind kind, int part = 0, int to = -1) {
      actions_.push_back({.kind = kind,
                          .microbatch = p.microbatch,
                          .slot = slot,
                          .chunk = p.chunk,
                          .part = part,
                          .place = place,
                          .peer = to < 0 ? -1 : stage_of(a_.kind, a_.stages, to)});
    };
    if (p.kind == PassKind::kForward) {
      add(ActionKind::kLoad);
      if (place > 0) add(ActionKind::kReceiveActivation, 0, place - 1);
      add(ActionKind::kForward);
      if (place < last) add(ActionKind::kSendActivation, 0, place + 1);
      return;
    }
    if (place < last && p.kind != PassKind::kBackwardWeights) add(ActionKind::kReceiveGradient, 0, place + 1);
    const int begin = first_part_[chunk], end = begin + a_.parts[chunk];
    if (p.kind == PassKind::kBackwardInput) {
      add(ActionKind::kBackwardInput, begin);
      if (place > 0) add(ActionKind::kSendGradient, 0, place - 1);
      return;
    }
    const bool split = p.kind == PassKind::kBackwardWeights;
    for (int part = begin; part < end; ++part) {
      add(split ? ActionKind::kBackwardWeights : ActionKind::kBackward, part);
      // The place before waits for this gradient, so it leaves before the last bucket is started.
      if (part + 1 == end && place > 0 && !split) add(ActionKind::kSendGradient, 0, place - 1);
      if (p.microbatch + 1 == a_.microbatches) add(ActionKind::kReduceBucket, part);
    }
  }

  std::vector<Action> take() { return std::move(actions_); }

 private:
  const ScheduleArgs& a_;
  std::vector<int> first_part_;  ///< by chunk
  std::vector<Action> actions_;
};

}  // namespace

bool splits_backward(ScheduleKind kind) { return kind == ScheduleKind::kZbH1 || kind == ScheduleKind::kZbV; }

int place_of(ScheduleKind kind, int stages, int stage, int chunk) {
  if (kind == ScheduleKind::kZbV && chunk == 1) return 2 * stages - 1 - stage;
  return chunk * stages + stage;
}
int stage_of(ScheduleKind kind, int stages, int place) {
  if (kind == ScheduleKind::kZbV && place >= stages) return 2 * stages - 1 - place;
  return place % stages;
}

int slots_needed(const ScheduleArgs& a) {
  check(a);
  return hand_out_slots(a, order(a)).count;
}

std::vector<Action> make_schedule(const ScheduleArgs& a) {
  check(a);
  const std::vector<Pass> list = order(a);
  const Slots slots = hand_out_slots(a, list);
  Writer w(a);
  for (std::size_t i = 0; i < list.size(); ++i) w.write(list[i], slots.of_pass[i]);
  return w.take();
}

std::vector<Action> make_forward_schedule(const ScheduleArgs& a, int slots) {
  check(a);
  if (slots < 1) throw BugError("a forward schedule with {} slots", slots);
  Writer w(a);
  int next = 0;
  for (const Pass& p : forward_order(a)) w.write(p, next++ % slots);
  return w.take();
}

std::string describe(const Action& a) {
  const std::string where = fmt::format("microbatch {}{} in slot {}", a.microbatch,
                                        a.chunk > 0 ? fmt::format(" of chunk {}", a.chunk) : "", a.slot);
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
    case ActionKind::kBackwardInput:
      return "backward to the input of " + where;
    case ActionKind::kBackwardWeights:
      return fmt::format("backward to the weights, part {}, of {}", a.part, where);
    case ActionKind::kSendGradient:
      return "send of the gradient of " + where;
    case ActionKind::kReduceBucket:
      return fmt::format("reduction of bucket {} after {}", a.part, where);
  }
  return "unknown action";
}

}  // namespace banyan::parallel
