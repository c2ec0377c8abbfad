// One optimizer step: interprets the schedule of this rank's stage, makes one gradient of all ranks' and updates the
// parameters.  Decides nothing: order, slots and buckets are in the schedule, sizes in the layout.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "src/job/checkpoint.hpp"
#include "src/job/setup.hpp"
#include "src/job/stop.hpp"
#include "src/parallel/schedule.hpp"
#include "src/train/bad_steps.hpp"
#include "src/train/batch.hpp"
#include "src/train/grad_sync.hpp"
#include "src/train/host_copy.hpp"
#include "src/train/optimizer.hpp"
#include "src/train/stage_link.hpp"
#include "src/train/trace.hpp"

namespace banyan::train {

class Audit;

/// What all ranks of the job, spares included, know after the gradients of a step are there.  Equal on every rank.
struct StepTotals {
  double loss = 0;       ///< mean over the tokens of the global batch
  double grad_norm = 0;  ///< of the mean's gradient, before clipping
  std::int64_t tokens = 0;
  job::StopReason stop = job::StopReason::kNone;  ///< somebody wants to stop after this step
  bool save = false;                              ///< somebody wants a checkpoint after it
  bool written = false;        ///< nobody is still writing the checkpoint that is on its way, or somebody failed to
  bool drained = false;        ///< the same of the one that is being copied from the nodes
  double link_wait = 0;        ///< seconds that all ranks together waited for neighbours of the pipeline
  std::vector<double> work{};  ///< StepVote::work of every rank, in steps in which they tell it
};

/// What a rank wants to happen after a step, and what else it has to say.
struct StepVote {
  job::StopReason stop = job::StopReason::kNone;
  bool save = false;
  job::Writing writing = job::Writing::kDone, draining = job::Writing::kDone;
  std::optional<double> work{};  ///< seconds that it works in a step (stragglers.hpp); all ranks tell it or none
};

struct StepReport {
  StepTotals totals;
  Judgement judgement = Judgement::kGood;  ///< anything else: nothing was updated
  double lr = 0;
  double clip = 1;         ///< factor the gradient was multiplied with
  double link_wait = 0;    ///< seconds this rank waited for neighbours of the pipeline
  double reduce_wait = 0;  ///< seconds it waited for gradients and parameters of other data ranks
  double sync_wait = 0;    ///< seconds it waited for all ranks to come to the end of the step
  double audit = 0;        ///< seconds that an audit took besides; 0 without one
};

/// What a rank contributes to StepTotals; spares leave everything but the vote zero.
struct StepShare {
  double loss_sum = 0, square_sum = 0, link_wait = 0;
  std::int64_t tokens = 0;
  StepVote vote{};
};

/// What one working rank trains with, and the two halves of a step.  Members refer to each other; not movable.
struct Trainer {
  Trainer(job::Job& job, job::Team& team, Samples& samples);
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  /// Runs the schedule: forward, backward, and the gradients of all ranks made one.  `trace`, if any, gets what this
  /// rank has made before that.
  StepShare compute_gradients(std::int64_t step, StepReport& report, Trace* trace = nullptr);
  /// The forward and backward passes alone, of whichever data rank's share; gradients of parts that are complete are
  /// handed to `part_done`.  What is returned are the losses that this rank speaks for, of each microbatch, once the
  /// device has been waited for.
  std::vector<kernels::Number> run(const std::vector<parallel::Action>& actions, BatchReader& share_of_batch,
                                   std::int64_t step, StepReport& report, Trace* trace,
                                   const std::function<void(int part)>& part_done);
  /// Clips, updates the parameters this rank updates, and brings the others' here.
  void apply_update(std::int64_t step, const StepTotals& totals, StepReport& report);
  /// True on the one tensor rank of each stage with the head that contributes the loss, of its last chunk.
  bool speaks_for_loss() const { return stage.spec().has_head && team.at.tensor == 0; }

  job::Job& job;
  job::Team& team;
  model::Stage& stage;
  std::vector<parallel::Action> schedule;
  BatchReader batch;
  StageLink link;
  GradSync grad_sync;
  Optimizer optimizer;
  HostCopy host_copy;  ///< of what is checked and saved
  std::int64_t data_shift =
      0;  ///< batches of the data order that roll-backs have left out: step s reads s + data_shift
  std::unique_ptr<Audit> audit;  ///< null without train.audit_every
};

/// Step number `step`, 0-based.  A step that `bad` judges bad updates nothing: parameters and optimizer state stay
/// those of the step before.  NumericsError as BadSteps::judge; CommError as Audit::compute_gradients.
StepReport train_step(Trainer& trainer, std::int64_t step, StepVote vote, BadSteps& bad);

/// Adds up the shares of all ranks of the job.
StepTotals agree_on_step(job::Job& job, std::int64_t step, const StepShare& share);
/// The totals of a job that has this share only.
StepTotals totals_of(const StepShare& sum);

/// What of the totals is not finite, in words that name the step and the tensors whose gradient it is; empty when all
/// is finite.  The same on all ranks, which all call it; `grad_sync` is null on spares.
std::string not_finite(job::Job& job, std::int64_t step, const StepTotals& totals, const GradSync* grad_sync);

}  // namespace banyan::train
