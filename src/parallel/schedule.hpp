// Pipeline schedules as data.  A schedule is the list of actions of one stage for one optimizer step;
// src/train/step.cpp interprets it and decides nothing.  GPipe: Huang et al., NeurIPS'19, section 2.2.  1F1B
// (non-interleaved, with flush): Narayanan et al., SC'21, section 2.2.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace banyan::parallel {

enum class ActionKind : std::uint8_t {
  kLoad,  ///< tokens and targets of the microbatch into its slot; first waits for sends out of that slot
  kReceiveActivation,
  kForward,
  kSendActivation,  ///< sends are posted, not waited for
  kReceiveGradient,
  kBackward,
  kSendGradient,
  kReduceBucket,  ///< gradients of backward part `part` are complete: start reducing them over the data ranks
};

struct Action {
  ActionKind kind;
  int microbatch = 0;  ///< 0 .. microbatches-1 of this data rank
  int slot = 0;        ///< which activation arena it lives in
  int chunk = 0;       ///< model chunk of this stage (virtual stages; 0 until they exist)
  int part = 0;        ///< part of the backward pass, or the bucket
  bool operator==(const Action&) const = default;
};

enum class ScheduleKind : std::uint8_t { kGpipe, k1F1B };

struct ScheduleArgs {
  ScheduleKind kind = ScheduleKind::k1F1B;
  int stages = 1, stage = 0;
  int microbatches = 1;
  int parts = 1;  ///< backward parts of this stage; the last microbatch reduces bucket p right after part p
};

/// The actions of one stage.  Both kinds run the backward passes in the order of the microbatches, so gradients are
/// accumulated in the same order and the two give the same bits.
std::vector<Action> make_schedule(const ScheduleArgs& args);
/// Activation slots the schedule of this stage uses: microbatches (GPipe), min(microbatches, stages - stage) (1F1B).
int slots_needed(const ScheduleArgs& args);
/// Forward passes only, for evaluation; uses `slots` slots in turn, so that a send may still be under way from one.
std::vector<Action> make_forward_schedule(int stages, int stage, int microbatches, int slots = 1);

/// "forward of microbatch 3 in slot 1"
std::string describe(const Action& action);

}  // namespace banyan::parallel
