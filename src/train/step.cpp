#include "src/train/step.hpp"

#include <fmt/format.h>

#include <cmath>
#include <string>
#include <vector>

#include "src/plan/layout.hpp"
#include "src/train/audit.hpp"
#include "src/train/lr.hpp"

namespace banyan::train {
namespace {

using parallel::Action;
using parallel::ActionKind;

double total(const std::vector<kernels::Number>& numbers) {
  double sum = 0;
  for (const kernels::Number& n : numbers) sum += *n;
  return sum;
}

/// Adds the time of its own life to a counter.
class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds), start_(Clock::now()) {}
  ~Stopwatch() { seconds_ += Seconds(Clock::now() - start_).count(); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double& seconds_;
  Clock::time_point start_;
};

}  // namespace

// ------------------------------------------------------------------------------------------------- the training step

StepReport train_step(Trainer& t, std::int64_t step, StepVote vote, BadSteps& bad) {
  StepReport report;
  StepShare share =
      t.audit && t.audit->due(step) ? t.audit->compute_gradients(step, report) : t.compute_gradients(step, report);
  share.vote = vote;
  {
    Stopwatch waiting(report.sync_wait);
    report.totals = agree_on_step(t.job, step, share);
  }
  report.judgement =
      bad.judge(step, step + t.data_shift, report.totals.loss, not_finite(t.job, step, report.totals, &t.grad_sync));
  if (report.judgement == Judgement::kGood) t.apply_update(step, report.totals, report);
  return report;
}

StepShare Trainer::compute_gradients(std::int64_t step, StepReport& report, Trace* trace) {
  const std::vector<kernels::Number> losses =
      run(schedule, batch, step, report, trace, [&](int part) { grad_sync.start(part); });
  {
    Stopwatch waiting(report.reduce_wait);
    grad_sync.finish();
  }
  const std::vector<kernels::Number> squares = grad_sync.owned_square_sums();
  team.backend->synchronize(job.queue);  // once in a step, for all numbers that the host needs
  StepShare share{.loss_sum = total(losses), .square_sum = total(squares), .link_wait = report.link_wait};
  if (speaks_for_loss()) share.tokens = batch.tokens();
  return share;
}

std::vector<kernels::Number> Trainer::run(const std::vector<Action>& actions, BatchReader& share_of_batch,
                                          std::int64_t step, StepReport& report, Trace* trace,
                                          const std::function<void(int part)>& part_done) {
  std::vector<kernels::Number> losses;
  const auto beat = [&](const Action& a) {
    job.world.beat(fmt::format("step {}, microbatch {}", step + 1, a.microbatch + 1));
  };
  const auto note = [&](Trace::What what, int index, ConstView values) {
    if (trace) trace->note(what, index, host_copy.of(values));
  };
  const int last_place = static_cast<int>(team.layout.places.size()) - 1;
  share_of_batch.begin(step + data_shift);
  stage.zero_grads();
  for (const Action& a : actions) {
    switch (a.kind) {
      case ActionKind::kLoad: {
        {
          Stopwatch waiting(report.link_wait);
          link.await_free(a.slot);
        }
        stage.load(a.slot, share_of_batch.microbatch(a.microbatch, a.chunk));
        break;
      }
      case ActionKind::kReceiveActivation:
        link.receive_activation(a);
        break;
      case ActionKind::kForward: {
        {
          Stopwatch waiting(report.link_wait);
          link.await_activation(a.slot);
        }
        if (a.place > 0) note(Trace::What::kGivenActivation, a.microbatch, stage.input(a.slot, a.chunk));
        stage.forward(a.slot);
        beat(a);
        if (a.place < last_place) note(Trace::What::kActivation, a.microbatch, stage.output(a.slot, a.chunk));
        if (a.place == last_place && (trace || speaks_for_loss())) {
          const kernels::Number loss = stage.loss_sum(a.slot);
          if (trace) {
            team.backend->synchronize(job.queue);
            trace->note(Trace::What::kLoss, a.microbatch, *loss);
          }
          if (speaks_for_loss()) losses.push_back(loss);
        }
        break;
      }
      case ActionKind::kSendActivation:
        link.send_activation(a);
        break;
      case ActionKind::kReceiveGradient: {
        Stopwatch waiting(report.link_wait);
        link.receive_gradient(a);
        break;
      }
      case ActionKind::kBackward: {
        {
          Stopwatch waiting(report.link_wait);
          link.await_gradient(a.slot);
        }
        if (a.place < last_place && a.part == model::parts_of_chunk(stage.spec(), a.chunk).begin)
          note(Trace::What::kGivenGradient, a.microbatch, stage.d_output(a.slot));
        stage.backward(a.slot, a.part);
        beat(a);
        break;
      }
      case ActionKind::kBackwardInput: {
        {
          Stopwatch waiting(report.link_wait);
          link.await_gradient(a.slot);
        }
        if (a.place < last_place) note(Trace::What::kGivenGradient, a.microbatch, stage.d_output(a.slot));
        stage.backward_input(a.slot);
        beat(a);
        break;
      }
      case ActionKind::kBackwardWeights:
        stage.backward_weights(a.slot, a.part);
        beat(a);
        break;
      case ActionKind::kSendGradient:
        note(Trace::What::kInputGradient, a.microbatch, stage.d_input(a.slot));
        link.send_gradient(a);
        break;
      case ActionKind::kReduceBucket:
        for (const int i : grad_sync.buckets()[static_cast<std::size_t>(a.part)].params)
          note(Trace::What::kGradient, i, stage.params()[static_cast<std::size_t>(i)].grad);
        part_done(a.part);
        break;
    }
  }
  {
    Stopwatch waiting(report.link_wait);
    link.finish();
  }
  return losses;
}

void Trainer::apply_update(std::int64_t step, const StepTotals& totals, StepReport& report) {
  report.lr = learning_rate(job.config.optimizer, step, job.config.train.steps);
  report.clip = optimizer.clip_factor(totals.grad_norm);
  optimizer.update(step + 1, report.lr, report.clip);
  {
    Stopwatch waiting(report.reduce_wait);
    grad_sync.gather_params();
  }
  // The optimizer has rounded what it updated; rows of others came rounded.
  stage.params_changed(true);
}

// ------------------------------------------------------------------------------------------------- what all must know

StepTotals agree_on_step(job::Job& job, std::int64_t step, const StepShare& share) {
  enum : std::size_t {
    kLoss,
    kTokens,
    kSquares,
    kLinkWait,
    kStep,
    kSave,
    kWriting,
    kNotWritten,
    kDraining,
    kNotDrained,
    kVotes
  };
  constexpr std::size_t kWork = kVotes + job::kStopReasons;  // from here on one for each rank, if they tell it
  std::vector<double> sums{share.loss_sum,
                           static_cast<double>(share.tokens),
                           share.square_sum,
                           share.link_wait,
                           static_cast<double>(step),
                           share.vote.save ? 1.0 : 0.0,
                           share.vote.writing == job::Writing::kUnderWay ? 1.0 : 0.0,
                           share.vote.writing == job::Writing::kFailed ? 1.0 : 0.0,
                           share.vote.draining == job::Writing::kUnderWay ? 1.0 : 0.0,
                           share.vote.draining == job::Writing::kFailed ? 1.0 : 0.0};
  sums.resize(kWork + (share.vote.work ? static_cast<std::size_t>(job.everyone->size()) : 0));
  if (share.vote.work) sums[kWork + static_cast<std::size_t>(job.everyone->rank())] = *share.vote.work;
  sums[kVotes + static_cast<std::size_t>(share.vote.stop)] = 1;
  const View all(sums.data(), {static_cast<std::int64_t>(sums.size())});
  job.everyone->all_reduce(job.queue, all, comm::ReduceOp::kSum, "all ranks to finish the step").wait();

  if (sums[kStep] != static_cast<double>(step) * job.everyone->size())
    throw BugError("the ranks are not at the same step; this one is at step {}", step + 1);
  StepTotals totals = totals_of({.loss_sum = sums[kLoss],
                                 .square_sum = sums[kSquares],
                                 .link_wait = sums[kLinkWait],
                                 .tokens = static_cast<std::int64_t>(sums[kTokens])});
  totals.save = sums[kSave] > 0;
  totals.written = sums[kWriting] == 0 || sums[kNotWritten] > 0;
  totals.drained = sums[kDraining] == 0 || sums[kNotDrained] > 0;
  for (int r = job::kStopReasons - 1; r > 0; --r)
    if (sums[kVotes + static_cast<std::size_t>(r)] > 0) totals.stop = static_cast<job::StopReason>(r);
  totals.work.assign(sums.begin() + kWork, sums.end());
  return totals;
}

StepTotals totals_of(const StepShare& sum) {
  return {.loss = sum.loss_sum / static_cast<double>(sum.tokens),
          .grad_norm = std::sqrt(sum.square_sum),
          .tokens = sum.tokens,
          .stop = sum.vote.stop,
          .save = sum.vote.save,
          .written = sum.vote.writing != job::Writing::kUnderWay,
          .drained = sum.vote.draining != job::Writing::kUnderWay,
          .link_wait = sum.link_wait};
}

std::string not_finite(job::Job& job, std::int64_t step, const StepTotals& totals, const GradSync* grad_sync) {
  if (!std::isfinite(totals.loss)) return fmt::format("the loss of step {} is {}", step + 1, totals.loss);
  if (std::isfinite(totals.grad_norm)) return "";
  std::string names;
  for (const std::string& name : comm::all_gather_strings(*job.everyone, grad_sync ? grad_sync->first_not_finite() : "",
                                                          "the names of gradients that are not finite"))
    if (!name.empty() && names.find(name) == std::string::npos) names += (names.empty() ? "" : ", ") + name;
  return fmt::format("the gradient of step {} is not finite (first in {}; loss {:.4f})", step + 1, names, totals.loss);
}

Trainer::Trainer(job::Job& job_, job::Team& team_, Samples& samples)
    : job(job_),
      team(team_),
      stage(*team_.stage),
      schedule(parallel::make_schedule(team_.layout.schedule_args(team_.at))),
      batch(team_, samples, true),
      link(team_, job_.queue),
      grad_sync(team_, team_.layout.zero, team_.layout.gradients, job_.queue),
      optimizer(team_, grad_sync, job_.config.optimizer, job_.queue),
      host_copy(*team_.backend, job_.queue) {
  // Any communicator of the world moves everything that is under way.
  comm::Communicator* all = team.all.get();
  stage.set_progress([all] { all->progress(); });
  if (job.config.train.audit_every > 0) audit = std::make_unique<Audit>(*this, job.config.train.audit_every);
}

Trainer::~Trainer() = default;

}  // namespace banyan::train
