#include "src/train/loop.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "io/dataset.hpp"
#include "src/base/log.hpp"
#include "src/base/process_memory.hpp"
#include "src/base/signals.hpp"
#include "src/base/units.hpp"
#include "src/job/checkpoint.hpp"
#include "src/job/choices.hpp"
#include "src/job/deadline.hpp"
#include "src/job/fruitless.hpp"
#include "src/job/metrics.hpp"
#include "src/job/plans.hpp"
#include "src/job/run_dir.hpp"
#include "src/job/save_times.hpp"
#include "src/job/stop.hpp"
#include "src/plan/memory.hpp"
#include "src/train/bad_steps.hpp"
#include "src/train/evaluate.hpp"
#include "src/train/plan_text.hpp"
#include "src/train/prediction.hpp"
#include "src/train/progress.hpp"
#include "src/train/resume.hpp"
#include "src/train/saver.hpp"
#include "src/train/step.hpp"
#include "src/train/straggler_report.hpp"
#include "src/train/stragglers.hpp"

namespace banyan::train {
namespace {

/// Longest silence while ranks set things up, and for spares, which hear nothing until others are done.
constexpr Seconds kLongPatience{3600};
constexpr Seconds kFirstStepPatience{120};

std::int64_t planned_memory(const job::Job& job, const job::Team& team) {
  config::Config config = job.config;
  config.run.threads = job.threads;
  return plan::memory_plan(team.layout, config, team.at).total(MemoryKind::kHost);
}

/// Where a job goes on that goes back to its last checkpoint.
struct RollBack {
  std::int64_t next_batch = 0;  ///< of the data order: the one after the bad step's
  std::int64_t steps = 0;       ///< bad ones in a row
};

class Loop {
 public:
  /// `back`: goes on behind a bad step.
  Loop(job::Job& job, const std::optional<RollBack>& back);
  /// Nothing when the job is to go back; back() says where to then.
  std::optional<ExitCode> run();
  RollBack back() const { return {step_ + data_shift_ + 1, bad_.in_a_row()}; }

 private:
  void learn_bad_steps(const ResumePoint& from, const std::optional<RollBack>& back);
  void tell_start(Seconds step) const;
  StepReport one_step_or_rescue();
  StepReport one_step();
  Seconds storage_patience() const;
  bool evaluates_after(std::int64_t step) const;
  bool saves_after(std::int64_t step) const;
  Seconds until_gone() const;
  ExitCode leave(ExitCode code);
  void report(const StepReport& r, double seconds, std::optional<double> validation_loss);

  job::Job& job_;
  std::shared_ptr<io::Dataset> dataset_;
  std::unique_ptr<Samples> samples_, validation_;  ///< the second is null without evaluation
  std::unique_ptr<job::Team> team_;                ///< null on spares; so are the next two
  std::unique_ptr<job::Checkpoints> checkpoints_;
  std::unique_ptr<Trainer> trainer_;
  job::StopWatch stop_watch_;
  std::optional<job::LineFile> metrics_;  ///< rank 0
  std::optional<Progress> progress_;      ///< rank 0
  BadSteps bad_;
  std::optional<Saver> saver_;
  std::int64_t data_shift_ = 0;      ///< as Trainer::data_shift
  std::int64_t step_ = 0;            ///< optimizer steps done
  std::int64_t tokens_ = 0;          ///< trained on so far
  bool foreign_ = false;             ///< resumed from what this run directory has not
  std::int64_t memory_planned_ = 0;  ///< bytes of this rank
  Seconds storage_limit_{0};         ///< of one part of a save or load; the same on all ranks
  double slowest_step_ = 0;          ///< seconds; 0 before the first
  bool stepped_ = false;             ///< of this attempt
  Seconds loading_{0};               ///< parameters and moments, or making them
  job::LongestOfLate late_steps_, late_evaluations_;
  WorkTimes work_times_;
  std::optional<StragglerReport> stragglers_;  ///< rank 0
  Prediction prediction_;                      ///< rank 0
};

Loop::Loop(job::Job& job, const std::optional<RollBack>& back)
    : job_(job),
      dataset_(open_dataset(job.config)),
      samples_(samples_of(dataset_, io::Split::kTrain)),
      validation_(job.config.train.eval_every > 0 ? samples_of(dataset_, io::Split::kValidation) : nullptr),
      stop_watch_(job::stop_options(job)),
      bad_(job.config) {
  const job::InPhase phase(job_.watchdog, job::Phase::kSetup);
  job::open_run_dir(job_);
  job::recall_choices(job_);
  team_ = job_.assemble(samples_->vocab(), job::Purpose::kTrain);
  std::optional<comm::PatienceScope> setting_up(kLongPatience);
  if (job_.root()) prediction_ = Prediction(job_, *team_);
  storage_limit_ = job::storage_limit(
      Seconds(comm::all_reduce_value(*job_.everyone, job_.root() ? job::save_time_so_far(job_.run_dir).count() : 0.0,
                                     comm::ReduceOp::kMax, "how long saves take")));
  std::int64_t epoch = 0;
  ResumePoint from;
  if (team_) {
    memory_planned_ = planned_memory(job_, *team_);
    setting_up.reset();
    const comm::PatienceScope patience(storage_patience());
    job::CheckpointOptions options;
    options.run_dir = job.config.run.dir;
    // A roll-back is no start: what this attempt saved is there to be gone back to.
    options.resume = back && job.config.checkpoint.resume == "never" ? "auto" : job.config.checkpoint.resume;
    options.keep = static_cast<int>(job.config.checkpoint.keep);
    options.view = job.config.checkpoint.view;
    options.verify = job.config.checkpoint.verify == "on";
    options.io_limit = options.background_limit = storage_limit_;
    if (team_->copies) {
      options.local.directory = job.config.checkpoint.local;
      options.local.keep = static_cast<int>(job.config.checkpoint.local_keep);
      options.local.copies = team_->copies.get();
      job::set_places(options.local, job.world, team_->mesh.all());
    }
    checkpoints_ = std::make_unique<job::Checkpoints>(*team_->all, options);
    epoch = checkpoints_->epoch();
    job::write_run_files(job_, std::string(dataset_->tokenizer_json()));
    trainer_ = std::make_unique<Trainer>(job_, *team_, *samples_);
    const job::InPhase loading(job_.watchdog, job::Phase::kLoad);
    const Clock::time_point start = Clock::now();
    from = resume(*trainer_, *checkpoints_);
    loading_ = Clock::now() - start;
    step_ = from.step;
    tokens_ = from.tokens;
    foreign_ = from.foreign;
    data_shift_ = trainer_->data_shift;
  }
  setting_up.emplace(kLongPatience);
  learn_bad_steps(from, back);
  setting_up.reset();  // all have read what they need from storage
  if (!back) job::require_progress(job_, step_);
  job::settle_plans(job_, team_.get(), from.plans);
  if (job_.root()) prediction_.settle(job_, *team_);
  if (team_ && job_.root()) job::write_plans(job_, team_->mesh, plan_text(*team_, job_, prediction_.machine()));
  job::note_attempt(job_, team_ ? team_->mesh.shape().str() : "", epoch, step_, back.has_value());
  saver_.emplace(job_, team_.get(), trainer_.get(), checkpoints_.get(), bad_, storage_patience());
  if (job_.root()) {
    metrics_.emplace(job_.run_dir / "metrics.jsonl");
    progress_.emplace(step_, job_.config.train.steps, job_.config.log.every);
    stragglers_.emplace(job_, *team_);
    stop_watch_.announce();
  }
}

/// Spares judge steps as well: they are told what rank 0, which always works, has read.
void Loop::learn_bad_steps(const ResumePoint& from, const std::optional<RollBack>& back) {
  const auto everywhere = [&](const std::string& text) {
    return comm::broadcast_string(*job_.everyone, text, 0, "the losses of the checkpoint from rank 0");
  };
  bad_.restore(everywhere(from.losses), everywhere(from.dropped), "the checkpoint");
  const auto broadcast = [&](std::int64_t value) {
    return comm::all_reduce_value(*job_.everyone, value, comm::ReduceOp::kMax, "the place in the data from rank 0");
  };
  step_ = broadcast(step_);
  data_shift_ = broadcast(data_shift_);
  if (back) {
    if (job_.root())
      log::warning("going on after step {} with batch {} of the data order; batches {} to {} are left out", step_,
                   back->next_batch, step_ + data_shift_, back->next_batch - 1);
    bad_.roll_back(step_ + data_shift_, back->next_batch - 1, back->steps);
    data_shift_ = back->next_batch - step_;
  }
  if (trainer_) trainer_->data_shift = data_shift_;
}

std::optional<ExitCode> Loop::run() {
  const config::Config& config = job_.config;
  if (step_ >= config.train.steps) {
    if (job_.root())
      log::info("nothing to train: the checkpoint has {} steps, train.steps = {}", step_, config.train.steps);
    // What came from elsewhere is kept here too, so that this run directory stands alone.
    if (comm::all_reduce_value(*job_.everyone, std::int64_t{foreign_}, comm::ReduceOp::kMax, "all ranks to agree") > 0)
      saver_->save_and_wait(step_, tokens_, "of what was resumed");
    return leave(ExitCode::kFinished);
  }
  for (;;) {
    const Clock::time_point begin = Clock::now();
    const Seconds waited = job_.world.waited();
    const StepReport r = one_step_or_rescue();
    const double seconds = Seconds(Clock::now() - begin).count();
    work_times_.add(seconds - (job_.world.waited() - waited).count());
    if (job_.root() && slowest_step_ == 0) tell_start(Seconds(seconds));
    if (!std::exchange(stepped_, true)) job::keep_choices(job_);
    slowest_step_ = std::max(slowest_step_, seconds);
    late_steps_.add(Seconds(seconds));
    if (r.judgement == Judgement::kRollBack) {
      if (job_.root()) log::warning("{}; going back to the last checkpoint", bad_.why());
      saver_->wait_for_all();
      return std::nullopt;
    }
    ++step_;
    if (r.judgement == Judgement::kGood)
      tokens_ += r.totals.tokens;
    else if (job_.root())
      log::warning("{}; its update is skipped", bad_.why());

    std::optional<double> validation_loss;
    if (evaluates_after(step_) && trainer_) {
      const Clock::time_point start = Clock::now();
      const job::InPhase phase(job_.watchdog, job::Phase::kEvaluate);
      if (const auto e = evaluate(job_, *team_, *validation_, config.train.eval_batches, signals::kHurry)) {
        validation_loss = e->loss;
        late_evaluations_.add(Clock::now() - start);
      } else if (job_.root()) {
        log::info("the evaluation after step {} is left out: asked to stop for the second time", step_);
      }
    }
    report(r, seconds, validation_loss);
    saver_->settle(r.totals);

    const bool finished = step_ >= config.train.steps || r.totals.loss < config.train.stop_loss;
    if (finished) {
      saver_->save_and_wait(step_, tokens_, "at the end");
      if (job_.root()) log::info("finished after {} steps, loss {:.4f}", step_, r.totals.loss);
      return leave(ExitCode::kFinished);
    }
    if (r.totals.stop != job::StopReason::kNone) {
      saver_->save_and_wait(step_, tokens_, "before stopping");
      job_.reason = job::name_of(r.totals.stop);
      if (job_.root())
        log::info("stopped after step {} because {}; start again to continue", step_, job::sentence_of(r.totals.stop));
      return leave(ExitCode::kStopped);
    }
    if (saves_after(step_) || r.totals.save)
      saver_->save(step_, tokens_);
    else if (saver_->saves_on_nodes_after(step_))
      saver_->save_on_nodes(step_, tokens_);
  }
}

/// Where the time until the first step has gone; after a roll-back it is the whole attempt's.
void Loop::tell_start(Seconds step) const {
  const Seconds all = Clock::now() - job_.started;
  log::info("the first step was done after {:.2f} s: {:.2f} s to set up, {:.2f} s for the parameters, {:.2f} s itself",
            all.count(), (all - loading_ - step).count(), loading_.count(), step.count());
}

/// Silence of others that this rank bears while checkpoints are written or read.
Seconds Loop::storage_patience() const {
  constexpr int kParts = 4;  // of a save, which a spare hears nothing of: preparing, writing, committing, removing
  if (!team_) return std::max(kLongPatience, kParts * storage_limit_);
  return job::silence_limit(Seconds(std::max(job_.config.comm.peer_timeout, job_.config.run.watchdog)),
                            memory_planned_);
}

bool Loop::evaluates_after(std::int64_t step) const { return validation_ && step % job_.config.train.eval_every == 0; }

bool Loop::saves_after(std::int64_t step) const {
  const std::int64_t every = job_.config.checkpoint.every_steps;
  return saver_->missed() || (every > 0 && step % every == 0);
}

/// What stop_watch_ is told; it counts on rank 0 only.
Seconds Loop::until_gone() const {
  if (!job_.root()) return Seconds(0);
  const job::Pace pace{late_steps_.get(), late_evaluations_.get(), saver_->save_time()};
  return pace.until_gone(evaluates_after(step_ + 1) || evaluates_after(step_ + 2),
                         saver_->busy() || saves_after(step_ + 1) || saver_->due(late_steps_.get()));
}

ExitCode Loop::leave(ExitCode code) {
  if (job_.root()) stop_watch_.leave(step_);
  saver_->leave_in_order();
  saver_->sum_up();
  return code;
}

/// Numbers that end the job do not take what is on its way to storage with them.
StepReport Loop::one_step_or_rescue() {
  try {
    return one_step();
  } catch (const NumericsError&) {
    if (bad_.given_up()) saver_->rescue();
    throw;
  }
}

StepReport Loop::one_step() {
  job_.watchdog.at_step(step_);
  const job::InPhase phase(job_.watchdog, job::Phase::kStep);
  // A peer may be as slow as the slowest step so far allows, the first step sets things up; a spare hears from nobody
  // until the step is done.
  const Seconds silence = slowest_step_ > 0 ? Seconds(10 * slowest_step_) : kFirstStepPatience;
  const comm::PatienceScope patience(trainer_ ? silence : kLongPatience);
  StepVote vote{.stop = stop_watch_.vote(step_ + 1, until_gone()),
                .save = saver_->due(late_steps_.get()),
                .writing = saver_->writing(),
                .draining = saver_->draining()};
  if (step_ % kWindow == 0) vote.work = trainer_ ? work_times_.typical() : 0;
  if (trainer_) return train_step(*trainer_, step_, vote, bad_);
  StepReport r;
  r.totals = agree_on_step(job_, step_, {.vote = vote});
  r.judgement = bad_.judge(step_, step_ + data_shift_, r.totals.loss, not_finite(job_, step_, r.totals, nullptr));
  return r;
}

void Loop::report(const StepReport& r, double seconds, std::optional<double> validation_loss) {
  if (!job_.root() || saver_->taken_over()) return;  // the lines of that step are another's now
  const job::InPhase phase(job_.watchdog, job::Phase::kStep);
  const double tokens_per_second = static_cast<double>(r.totals.tokens) / seconds;
  job::Metrics m{{"step", step_, "step"},
                 {"attempt", job_.attempt},
                 {"loss", r.totals.loss, "loss", 4},
                 {"loss_z", bad_.z()},
                 {"grad_norm", r.totals.grad_norm, "|g|", 3},
                 {"lr", r.lr, "lr"},
                 {"tokens", tokens_},
                 {"ms", seconds * 1e3, "ms", 0},
                 {"predicted_ms", prediction_.seconds() * 1e3},
                 {"tokens_per_s", tokens_per_second, "tok/s", 0},
                 {"model_flops_per_s", tokens_per_second * model::flops_per_token(team_->layout.model)},
                 {"bubble_share", r.totals.link_wait / seconds / team_->layout.mesh.size()},
                 {"predicted_bubble_share", prediction_.waiting_share()},
                 {"pipeline_wait_share", r.link_wait / seconds},
                 {"reduce_wait_share", r.reduce_wait / seconds},
                 {"sync_wait_share", r.sync_wait / seconds},
                 {"checkpoint_stall_ms", saver_->take_stall() * 1e3},
                 {"checkpoint_stall_share", saver_->stall_share()},
                 {"memory", peak_memory() - job_.memory_at_start},
                 {"memory_planned", memory_planned_}};
  if (r.audit > 0) m.push_back({"audit_ms", r.audit * 1e3});
  if (r.judgement == Judgement::kSkip) m.push_back({"skipped", std::int64_t{1}});
  prediction_.compare(seconds - r.audit);
  stragglers_->add(r.totals.work, m);
  if (validation_loss) m.push_back({"validation_loss", *validation_loss, "validation", 4});
  progress_->step(step_, m, validation_loss.has_value());
  try {
    metrics_->append(job::json_line(m));
  } catch (const IoError& e) {
    log::warning("step {} is not in metrics.jsonl yet: {}", step_, e.what());
  }
}

}  // namespace

ExitCode train(job::Job& job) {
  std::optional<RollBack> back;
  for (;;) {
    Loop loop(job, back);
    if (const std::optional<ExitCode> code = loop.run()) return *code;
    back = loop.back();
  }
}

}  // namespace banyan::train
