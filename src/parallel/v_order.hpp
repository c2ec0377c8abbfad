// The order of passes of the schedule ZB-V: P. Qi et al., "Zero Bubble Pipeline Parallelism", ICLR'24, section 6.
//
// Every stage holds two chunks; microbatches go down the stages through the first ones and come back up through the
// second ones, so that the first stage has both ends of the model:
//
//   stage 0   chunk 0 ─┐   ┌─► chunk 1, loss
//   stage 1   chunk 0 ─┤   ├─  chunk 1
//   stage 2   chunk 0 ─┴───┴─  chunk 1
//
// The order is that of a list scheduler: all stages are played with passes that take the given times, and whoever is
// free takes, of what can be done, a gradient that others wait for before a forward pass, as long as fewer microbatches
// are held than 2 per stage, before gradients of weights, which wait for nothing and fill what would be idle.  As in
// the paper (section 3.1) a few variants of that are played, since none is best for all times of passes, and the one
// that is done first is taken.  Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "src/parallel/pass.hpp"

namespace banyan::parallel {

/// Microbatches, each in one chunk, that a stage holds at most: as many as 1F1B's first stage does.
inline int v_slots(int stages) { return 2 * stages; }

/// The passes of one of several stages.
std::vector<Pass> v_order(int stages, int stage, int microbatches, const PassTicks& ticks);
/// When the last stage is done, in ticks, were messages no matter.
std::int64_t v_ticks(int stages, int microbatches, const PassTicks& ticks);

}  // namespace banyan::parallel
