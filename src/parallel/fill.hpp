// How long a pipeline takes to fill and to empty, in closed form, beside GPipe and 1F1B.  Pure.
#pragma once

#include "src/parallel/schedule.hpp"

namespace banyan::parallel {

/// A step of m microbatches over stages that are alike takes m times the passes of one stage, and besides, with GPipe
/// and 1F1B, once those of each other stage.  Of the latter the schedule leaves this share, were messages no matter:
///
///   GPipe, 1F1B   1
///   interleaved   1 / chunks, of microbatches that are a multiple of the stages (Narayanan et al., SC'21, section 2.2)
///   ZB-H1         (f + b - w) / (f + b + w), where there are as many microbatches as stages; fewer have less to fill
///                 with (Qi et al., ICLR'24, table 1)
///   ZB-V          what its order leaves (v_order.hpp), which has no closed form; of many microbatches what it leaves
///                 of four for each stage
///
/// f, b, w: `ticks`.
double fill_share(ScheduleKind kind, int stages, int chunks, int microbatches, const PassTicks& ticks);

}  // namespace banyan::parallel
