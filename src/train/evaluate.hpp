// Mean loss over text without training on it: forward passes only, no dropout.
#pragma once

#include <cstdint>
#include <optional>

#include "src/job/setup.hpp"
#include "src/train/samples.hpp"

namespace banyan::train {

struct Evaluation {
  double loss = 0;  ///< mean over the tokens
  std::int64_t tokens = 0;
};

/// Over global batches [0, batches), as far as there are samples; the same on every working rank.  Nothing when a rank
/// gets its `enough`th stop signal (signals.hpp): all leave after the same batch.  Called by all working ranks.
std::optional<Evaluation> evaluate(job::Job& job, job::Team& team, Samples& samples, std::int64_t batches, int enough);

}  // namespace banyan::train
