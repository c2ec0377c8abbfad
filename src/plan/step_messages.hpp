// Seconds that the messages of a step take, given what they put on each way of the network.  Pure.
//
// A stage of the pipeline computes and adds up over its tensor groups in turn.  All groups of a stage do so at one
// time, phase by phase, so that what they put on a way follows each other; only the pieces of a long call overlap,
// until the busiest way is never idle.  Groups of other stages are met by chance.  That is a closed network of
// customers that think (compute) and queue (at ways), and its mean-value analysis says how long it takes: who arrives
// finds of each other customer what it has there times the share of its time that it spends there (Y. Bard, "Some
// Extensions to Multiclass Queueing Network Analysis", 1979; E. Lazowska et al., Quantitative System Performance, 1984,
// chapter 6).  So
//
//     R(s) = phases of stage s + latencies + max over its ways w ( sum over stages t /= s of q(t) bytes(t, w) ) /
//     rate(w)
//
// with q(t) = R(t) / step the share of its time that t speaks.
//
// Groups of one stage that share a way fairly do not stay in step: of n who start a call of S seconds at one time, one
// that is ahead by d is done (n - 1) d before the others.  So they drift apart until their way is never idle, and what
// one computes is hidden behind what the others send, as far as that goes: a pass takes max(n S, computing + S) (the
// asymptotic bounds of such a network, Lazowska et al., chapter 5).  Two stay as far apart as they began: columns of a
// pipeline do not begin together, ranks without one do.
//
// A message between stages moves when its receiver has come to it, as long ones do, so that it lengthens the receiver's
// pass. What a rank sends to its successor and to its predecessor takes turns, since each waits for what the other one
// brings about. The stages' times follow each other as the schedule has it, in closed form.
//
// At the end gradients are added, stage by stage as each is done: the last one is first, and the others' way back hides
// what it adds.  But its many long flows also share the ways with the last calls and messages of the others, flow by
// flow, and hold them up, the longer the more of them there are, until there is nothing left to add.
#pragma once

#include <vector>

#include "src/plan/link_load.hpp"

namespace banyan::plan {

/// Until the last stage is done, of stages that take so long for one microbatch: the longest of the ways through the
/// schedule that stay with one stage after the way there and before the way back.  GPipe and 1F1B as
/// parallel/schedule.hpp has them; other schedules are like 1F1B, but leave a share of the ways there and back
/// (Demand::fill).
double pipeline_seconds(const std::vector<Pass>& passes, double microbatches, bool gpipe, double fill = 1);

struct StepMessages {
  double tensor = 0, pipeline = 0, data = 0;  ///< what a step takes longer for each of them
};
/// `computing` as PlacementQuestion has it; `rates` by way.
StepMessages step_messages(const parallel::MeshShape& mesh, const Demand& demand, const std::vector<Pass>& computing,
                           const Loads& loads, const std::vector<double>& rates, const comm::Links& links);

}  // namespace banyan::plan
