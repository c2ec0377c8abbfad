// Pipeline schedules as data.  A schedule is the list of actions of one stage for one optimizer step;
// src/train/step.cpp interprets it and decides nothing.  GPipe: Huang et al., NeurIPS'19, section 2.2.  1F1B with
// flush, plain and interleaved: Narayanan et al., SC'21, section 2.2.  ZB-H1 and ZB-V, whose backward passes are two,
// one for the gradient of the input and one for those of the weights: P. Qi et al., "Zero Bubble Pipeline Parallelism",
// ICLR'24, sections 2.1 and 6.
//
// A stage may hold several chunks of the model.  All chunks of the pipeline, in the order of the model, are its places
// (virtual stages): chunk c of stage s of S is place c S + s, so that microbatches go round the stages once per chunk;
// in a V (ZB-V) they come back through the second chunks, and chunk 1 of stage s is place 2 S - 1 - s.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/parallel/pass.hpp"

namespace banyan::parallel {

enum class ActionKind : std::uint8_t {
  kLoad,  ///< tokens and targets of the microbatch into its slot; first waits for the activation sent out of that slot
  kReceiveActivation,
  kForward,
  kSendActivation,   ///< sends are posted, not waited for
  kReceiveGradient,  ///< first waits for the gradient sent out of that slot, as kBackward and kBackwardInput do
  kBackward,         ///< one part
  kBackwardInput,    ///< all of the chunk; instead of kBackward in schedules that split it
  kBackwardWeights,  ///< and later one part of the rest
  kSendGradient,
  kReduceBucket,  ///< gradients of backward part `part` are complete: start reducing them over the data ranks
};

struct Action {
  ActionKind kind;
  int microbatch = 0;  ///< 0 .. microbatches-1 of this data rank
  int slot = 0;        ///< which activation arena it lives in; each may hold a microbatch of any chunk
  int chunk = 0;       ///< model chunk of this stage
  int part = 0;        ///< part of the stage's backward pass, or the bucket; the parts of its last chunk come first
  int place = 0;       ///< of the chunk in the pipeline
  int peer = -1;       ///< the stage that a message goes to or comes from
  bool operator==(const Action&) const = default;
};

enum class ScheduleKind : std::uint8_t { kGpipe, k1F1B, kInterleaved, kZbH1, kZbV };
/// Gradients of weights have passes of their own.
bool splits_backward(ScheduleKind kind);

struct ScheduleArgs {
  ScheduleKind kind = ScheduleKind::k1F1B;
  int stages = 1, stage = 0;
  int microbatches = 1;
  /// Backward parts of each model chunk of this stage, so as many numbers as chunks; the last microbatch reduces bucket
  /// p right after part p.  Every stage has as many chunks: two and more for kInterleaved, two
  /// for kZbV, else one.
  std::vector<int> parts{1};
  PassTicks ticks{};  ///< ZB-V: of a chunk, the same on all stages

  int chunks() const { return static_cast<int>(parts.size()); }
};

/// The actions of one stage.  All kinds run the backward passes of a chunk in the order of the microbatches, so
/// gradients are accumulated in the same order and all give the same bits, but for a tied embedding in a V: what its
/// two uses add on one stage follows the schedule.
std::vector<Action> make_schedule(const ScheduleArgs& args);
/// Activation slots that the schedule of this stage uses, each for a microbatch in one chunk: microbatches (GPipe),
/// min(microbatches, stages - stage) (1F1B), at most 2 (stages - stage) - 1 + (chunks - 1) stages (interleaved),
/// min(microbatches, stages) (ZB-H1), at most 2 stages (ZB-V).
int slots_needed(const ScheduleArgs& args);
/// Forward passes only, for evaluation; uses `slots` slots in turn, so that a send may still be under way from one.
std::vector<Action> make_forward_schedule(const ScheduleArgs& args, int slots);

/// Number of the chunk among all chunks of the pipeline, and the stage where a place is.
int place_of(ScheduleKind kind, int stages, int stage, int chunk);
int stage_of(ScheduleKind kind, int stages, int place);

/// "forward of microbatch 3 in slot 1"; with "of chunk 1" where that is not the first
std::string describe(const Action& action);

}  // namespace banyan::parallel
