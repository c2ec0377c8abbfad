// What a step of a layout costs: FLOP of every part of the model, and a prediction of the step's time from the seconds
// of block_price.hpp and the bubble of the played schedule.  Pure.
#pragma once

#include <string>
#include <vector>

#include "src/model/shapes.hpp"
#include "src/plan/block_price.hpp"
#include "src/plan/division.hpp"
#include "src/plan/layout.hpp"
#include "src/plan/machine.hpp"

namespace banyan::plan {

/// FLOP of one token over a full context, summed over the tensor ranks.
struct PassFlops {
  double forward = 0, backward = 0;
  double total() const { return forward + backward; }
  PassFlops& operator+=(const PassFlops& o) {
    forward += o.forward;
    backward += o.backward;
    return *this;
  }
};
PassFlops block_flops(const model::ModelShape& shape, bool recompute);
PassFlops head_flops(const model::ModelShape& shape);
/// Lookups count their additions only; small, but it makes the first stage no cheaper than it is.
PassFlops embedding_flops(const model::ModelShape& shape);
/// Passes of a block beside each other, by their FLOP, so the same on every rank and machine: what orders of a schedule
/// are made for.
parallel::PassTicks pass_ticks(const model::ModelShape& shape);
PassFlops stage_flops(const Layout& layout, int pipeline_stage);

struct StepCost {
  std::vector<double> forward, backward;  ///< seconds of a microbatch, per pipeline stage, all its chunks
  double pipeline = 0;                    ///< seconds from the first forward to the last backward
  double bubble_share = 0;                ///< of `pipeline`
  double waiting = 0;       ///< seconds that a stage waits for messages of its neighbours, on average; the rest of its
                            ///< bubble comes behind its last pass, where it waits for all ranks
  double tensor_share = 0;  ///< seconds of tensor-parallel reductions inside `pipeline`, of the dearest stage
  double reduce = 0;        ///< seconds of the gradient reduction that the backward pass cannot hide
  double update = 0;        ///< seconds of the optimizer
  double step = 0;          ///< all of it
  double tokens_per_second = 0;
  double flops_per_token = 0;  ///< model FLOP, without recomputation
};
StepCost step_cost(const Layout& layout, const Machine& machine);

/// Seconds that each stage computes for one microbatch on the machine, its messages left out.
std::vector<Pass> computing_of(const Layout& layout, const Machine& machine);

/// A layout as the search sees it.
Division division_of(const Layout& layout);

}  // namespace banyan::plan
