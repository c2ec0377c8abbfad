// The job of `banyan train`: resume, steps, evaluation, checkpoints, stopping.
#pragma once

#include "src/job/setup.hpp"

namespace banyan::train {

/// kFinished after train.steps or below train.stop_loss; kStopped after a commit when somebody asked to stop.  Called
/// by all ranks; spares take part in what concerns the whole job.
ExitCode train(job::Job& job);

}  // namespace banyan::train
