// When a job saves, what it waits for, and what becomes of saves that fail.  Checkpoints that come while training goes
// on are written in the background (checkpoint.async); the last one before the job leaves is waited for.  Between those
// in the run directory there may be node-local ones (checkpoint.local), which are left out where they would have to
// wait.  Where there are, what is to come into the run directory is saved on the nodes first and copied from there: the
// copying may take long without holding up the node-local ones.
#pragma once

#include <cstdint>
#include <optional>

#include "src/job/checkpoint.hpp"
#include "src/job/save_times.hpp"
#include "src/job/setup.hpp"
#include "src/train/bad_steps.hpp"
#include "src/train/step.hpp"

namespace banyan::train {

/// Of all ranks, spares included, which call what changes something in the same order.
class Saver {
 public:
  /// `team`, `trainer` and `checkpoints` are null on spares.  What is referred to outlives it.  `patience`: longest
  /// silence of other ranks in a save.
  Saver(job::Job& job, const job::Team* team, Trainer* trainer, job::Checkpoints* checkpoints, BadSteps& bad,
        Seconds patience);

  /// For the vote of a step: how far this rank is with what is on its way, and with what is copied from the nodes.
  job::Writing writing() const;
  job::Writing draining() const;
  /// After a step that was voted on: commits what all ranks have written or copied.
  void settle(const StepTotals& totals);
  /// Saves the state after `step`, in the background or waiting as checkpoint.async says.  Where the one before is
  /// still being written it waits a moment, then leaves this one out, loudly: never are two on their way.  By way of
  /// the nodes copying is not waited for, nor is anything left out because of it: when the one before has been copied,
  /// the newest there is comes next.  A failure is loud and leaves the training going, and the next try goes straight
  /// into the run directory, behind what is being copied; after several in a row it is an IoError.
  void save(std::int64_t step, std::int64_t tokens);
  /// Whether a node-local checkpoint is due after `step`.
  bool saves_on_nodes_after(std::int64_t step) const;
  /// A node-local checkpoint after `step`, unless one of either kind is on its way.  A failure is a warning; after
  /// several in a row there are no more of them.
  void save_on_nodes(std::int64_t step, std::int64_t tokens);
  /// The last save of an attempt, which has no later step to be tried again at.  `why`: "at the end"
  void save_and_wait(std::int64_t step, std::int64_t tokens, const char* why);
  /// Waits for what is on its way, to both places.
  void wait_for_all();
  /// The run directory has all that was trained: node-local checkpoints are of no more use.
  void leave_in_order();

  /// The same when the job ends with an error of its own, which this one's shall not hide.
  void rescue();

  /// The last save failed: the next step is to be saved.
  bool missed() const { return (misses_ > 0 || straight_) && !writes_run_dir(); }
  /// Whether this rank has seen that another job took the run over: what it does is of no more use.
  bool taken_over() const;
  /// Whether this rank asks for a checkpoint: rank 0 because of the time since the last (checkpoint.interval = auto;
  /// `step`: what one takes), and who has seen that the run was taken over, since a save says so to all.
  bool due(Seconds step) const;
  /// What the last save will take, with what is on its way; rank 0.
  Seconds save_time() const;
  /// A checkpoint of either kind is on its way.
  bool busy() const { return in_flight_ || in_drain_; }

  /// Seconds that training has waited since this was asked last.
  double take_stall();
  /// Share of the time since the first step that training has waited; the last save of an attempt is not in it.
  double stall_share() const;
  /// Tells the log about it, on rank 0.
  void sum_up() const;

 private:
  /// What one checkpoint has of the training, and costs it.
  struct Moment {
    std::int64_t step = 0, bad_before = 0;   ///< after that step, and so many bad ones
    Seconds waited{0};                       ///< by the training
    Clock::time_point taken = Clock::now();  ///< when training could go on
  };

  void learn_failures();
  /// What a checkpoint costs the training; rank 0.
  Seconds cost() const;
  /// Between two of them, by checkpoint.interval = auto; rank 0.
  Seconds interval() const;
  void refuse_if_hopeless() const;
  bool make_way();
  void count_wait(Moment& saved, Seconds waited);
  Moment& under_way() { return in_flight_ ? last_ : drained_; }
  bool writes_run_dir() const { return in_drain_ || (in_flight_ && (to_drain_ || level_ == job::Level::kRunDir)); }
  bool by_way_of_nodes() const;
  void begin_or_save(std::int64_t step, std::int64_t tokens, bool background, job::Level level);
  void finish();
  void begin_drain();
  void finish_drain();
  /// What working ranks say, for spares too: sets whether one is on its way, of which this rank says `mine`; returns
  /// the misses.
  int agree(const job::SaveResult& result, bool mine, bool& on_its_way);
  /// Of what began at `start`: agrees with spares, counts the time, tells the log.
  void conclude(const job::SaveResult& result, Clock::time_point start);
  void conclude_drain(const job::SaveResult& result, Clock::time_point start);
  /// The rest of it for what has come to its end, there or there.
  void conclude_on_nodes(const job::SaveResult& result, int misses, bool background);
  void conclude_in_run_dir(const job::SaveResult& result, const Moment& saved, bool background);

  job::Job& job_;
  const job::Team* team_;
  Trainer* trainer_;
  job::Checkpoints* checkpoints_;
  BadSteps& bad_;
  const Seconds patience_;
  std::optional<job::SaveTimes> save_times_;  ///< rank 0
  Seconds between_failures_{0};               ///< expected; rank 0
  bool in_flight_ = false;                    ///< the same on all ranks, as is the rest
  bool in_drain_ = false;                     ///< one is being copied from the nodes
  int misses_ = 0;                            ///< failed saves in a row, into the run directory
  std::int64_t left_out_ = 0;                 ///< saves, because the one before took too long
  bool on_nodes_ = false;                     ///< there are node-local checkpoints
  bool told_skipped_ = false;                 ///< that some of them are left out
  bool to_drain_ = false;                     ///< the one on its way to the nodes is wanted in the run directory
  bool drain_again_ = false;                  ///< the newest on the nodes is, after the one that is being copied
  bool straight_ = false;                     ///< the next one goes straight into the run directory

  job::Level level_ = job::Level::kRunDir;  ///< of the save that was begun last
  Moment last_, on_nodes_last_, drained_;   ///< of that one, the newest on the nodes, the one that is copied

  const Clock::time_point first_step_ = Clock::now();
  Clock::time_point at_stake_since_ = Clock::now();  ///< what was trained from then on is in no checkpoint
  Seconds stall_{0}, stalls_{0};                     ///< since asked last; in all
};

}  // namespace banyan::train
