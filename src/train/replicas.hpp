// Copies that must be equal are compared by digest at every save: parameters of data replicas, parameters every tensor
// rank holds whole, the two copies of a tied embedding.  A difference means that memory, a message or the program went
// wrong; it is noticed before it is saved.
#pragma once

#include "src/train/step.hpp"

namespace banyan::train {

/// NumericsError naming the tensor and both ranks.  Called by all working ranks.
void compare_replicas(Trainer& trainer, std::int64_t step);

}  // namespace banyan::train
