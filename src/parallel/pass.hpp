// What a stage of the pipeline computes at a time.  Plain data; the actions of a schedule follow from its passes.
#pragma once

#include <cstdint>

namespace banyan::parallel {

enum class PassKind : std::uint8_t {
  kForward,
  kBackward,
  kBackwardInput,    ///< of a backward pass: the gradient that the place before waits for
  kBackwardWeights,  ///< and the rest of it, for which nobody does
};

/// A pass of a microbatch through one of the stage's chunks.
struct Pass {
  PassKind kind = PassKind::kForward;
  int microbatch = 0, chunk = 0;
  bool operator==(const Pass&) const = default;
};

/// How long passes take beside each other; for orders that depend on it.
struct PassTicks {
  int forward = 1, input = 1, weights = 1;
  bool operator==(const PassTicks&) const = default;
};

}  // namespace banyan::parallel
