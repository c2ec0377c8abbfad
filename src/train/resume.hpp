// From a checkpoint to a trainer and back: what a resume must find unchanged, what it may change, what a save records.
#pragma once

#include <cstdint>

#include "src/job/checkpoint.hpp"
#include "src/train/step.hpp"

namespace banyan::train {

/// In a manifest's `extra`: batches whose updates were dropped (BadSteps::dropped_text).
inline constexpr const char* kDroppedBatches = "dropped_batches";

struct ResumePoint {
  std::int64_t step = 0;    ///< optimizer steps done
  std::int64_t tokens = 0;  ///< trained on
  bool foreign = false;     ///< the checkpoint is of another run directory, or on the nodes only
  std::string plans{};      ///< of collectives, as the checkpoint records them; empty for a fresh start
  /// For BadSteps::restore, as save_state was given them.
  std::string losses{}, dropped{};
};

/// Loads the newest usable checkpoint and sets trainer.data_shift, or gives the parameters their initial values when
/// there is none.  ConfigError naming the first key that a resume must not change.  Called by all working ranks.
ResumePoint resume(Trainer& trainer, job::Checkpoints& checkpoints);

/// What a checkpoint after `step` steps says besides the tensors.
job::SaveState save_state(const Trainer& trainer, std::int64_t step, std::int64_t tokens, const BadSteps& bad);

/// The configuration with every "0 means ..." of [model] replaced by its value.
config::Config resolved(config::Config config, const model::ModelShape& shape);

}  // namespace banyan::train
