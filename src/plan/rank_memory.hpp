// What the fullest rank of a division holds, in closed form, for searches and for divisions the program cannot run yet;
// memory.hpp has the exact plan of those it can.  Activations by V. Korthikanti et al., "Reducing Activation
// Recomputation in Large Transformer Models", 2022, section 4.  Pure.
#pragma once

#include "src/model/shapes.hpp"
#include "src/plan/division.hpp"

namespace banyan::plan {

struct RankMemory {
  double parameters = 0, gradients = 0, optimizer = 0, activations = 0, buffers = 0;
  double blocks_in_flight = 0;  ///< blocks times microbatches whose activations are held at a time
  double total() const { return parameters + gradients + optimizer + activations + buffers; }
};

/// `blocks` of the fullest stage, `elements` of its parameters on one rank, `microbatches` of a data rank
/// (StepPrice has all three).
RankMemory rank_memory(const model::ModelShape& shape, const Division& d, double blocks, double elements,
                       double microbatches, const Machine& machine);

/// Bytes that one block keeps of a microbatch for its backward pass.
double block_activation_bytes(const model::ModelShape& shape, const Division& d, bool fused_attention);

}  // namespace banyan::plan
