#include "src/train/saver.hpp"

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/topology/contact.hpp"
#include "src/base/log.hpp"
#include "src/base/units.hpp"
#include "src/job/save_interval.hpp"
#include "src/plan/memory.hpp"
#include "src/train/replicas.hpp"
#include "src/train/resume.hpp"
#include "src/train/state.hpp"

namespace banyan::train {
namespace {

/// Failed saves in a row that end the job.
constexpr int kSaveTries = 3;

/// How long writing may have taken when the next save is due: training waits for storage that keeps up with steps of
/// milliseconds, and does not for storage that is slower than the time between saves.
constexpr Seconds kKeepingUp{5};

/// Of the state that each rank writes.
std::int64_t bytes_per_rank(const job::Team& team) {
  constexpr std::int64_t kBytesOfParameter = 3 * sizeof(float);  // itself and two moments
  return model::parameter_count(team.layout.model) * kBytesOfParameter / team.all->size();
}

}  // namespace

Saver::Saver(job::Job& job, const job::Team* team, Trainer* trainer, job::Checkpoints* checkpoints, BadSteps& bad,
             Seconds patience)
    : job_(job), team_(team), trainer_(trainer), checkpoints_(checkpoints), bad_(bad), patience_(patience) {
  const auto& keys = job_.config.checkpoint;
  if (trainer_ && plan::saves_in_background(job_.config)) checkpoints_->prepare(slabs_to_save(*trainer_));
  if (!keys.local.empty())
    on_nodes_ = comm::all_reduce_value(*job_.everyone, std::int64_t{checkpoints_ && checkpoints_->local()},
                                       comm::ReduceOp::kMax, "whether there are node-local checkpoints") > 0;
  if (!job_.root()) return;
  save_times_.emplace(job_.run_dir);
  if (job_.config.checkpoint.interval == "auto") learn_failures();
}

void Saver::learn_failures() {
  const Seconds unix_now = std::chrono::system_clock::now().time_since_epoch();
  const job::FailureHistory history = job::read_history(job_.run_dir, job_.attempt, unix_now.count());
  between_failures_ = job::time_between_failures(history, static_cast<int>(comm::node_speakers(job_.world).size()));
  log::info(
      "a checkpoint every {} besides those of checkpoint.every_steps: training waits {} for one, a failure is expected "
      "in {}",
      format_seconds(interval().count()), format_seconds(cost().count()), format_seconds(between_failures_.count()));
}

Seconds Saver::save_time() const { return save_times_->p99(job::assumed_save_time(bytes_per_rank(*team_))); }

Seconds Saver::cost() const {
  if (job_.config.checkpoint.async == "off") return save_time();
  return save_times_->waited_p99(job::assumed_copy_time(bytes_per_rank(*team_)));
}

Seconds Saver::interval() const {
  return job::save_interval(cost(), between_failures_, job_.config.checkpoint.overhead);
}

bool Saver::due(Seconds step) const {
  if (taken_over()) return true;  // which ends the job on all ranks alike
  if (writes_run_dir()) return false;
  if (!job_.root() || job_.config.checkpoint.interval != "auto") return false;
  return Clock::now() - at_stake_since_ + step >= interval();
}

bool Saver::taken_over() const { return checkpoints_ && checkpoints_->taken_over(); }

job::Writing Saver::writing() const { return checkpoints_ ? checkpoints_->writing() : job::Writing::kDone; }

job::Writing Saver::draining() const { return checkpoints_ ? checkpoints_->draining() : job::Writing::kDone; }

void Saver::settle(const StepTotals& totals) {
  // In this order: what finish() begins to copy was not voted on.
  if (in_drain_ && totals.drained) finish_drain();
  if (in_flight_ && totals.written) finish();
  refuse_if_hopeless();
}

void Saver::save(std::int64_t step, std::int64_t tokens) {
  while (in_flight_ && level_ == job::Level::kNodes) finish();  // which nobody would be warned of
  const bool way = make_way();
  refuse_if_hopeless();
  if (!way) {
    ++left_out_;
    if (job_.root())
      log::warning(
          "the save after step {} is left out: the one after step {} is being written for {:.0f} s already; storage is "
          "slower than the time between saves, so save less often",
          step, under_way().step, Seconds(Clock::now() - under_way().taken).count());
    return;
  }
  to_drain_ = by_way_of_nodes();
  begin_or_save(step, tokens, job_.config.checkpoint.async == "on",
                to_drain_ ? job::Level::kNodes : job::Level::kRunDir);
  refuse_if_hopeless();
}

bool Saver::by_way_of_nodes() const {
  return on_nodes_ && plan::drains_nodes(job_.config) && misses_ == 0 && !straight_;
}

/// Whether nothing is on its way any more that is in the way of the next one, which is waited for until it has taken
/// kKeepingUp.
bool Saver::make_way() {
  constexpr Seconds kFirstPause{0.0005}, kLongestPause{0.1};
  enum : std::int64_t { kWritten, kWriting, kSlow };
  const auto blocked = [&] { return in_flight_ || (in_drain_ && !by_way_of_nodes()); };
  for (Seconds pause = kFirstPause; blocked(); pause = std::min(2 * pause, kLongestPause)) {
    const Clock::time_point start = Clock::now();
    Moment& slow = under_way();
    std::int64_t all = kWritten;
    {
      const job::InPhase phase(job_.watchdog, job::Phase::kSave);
      const comm::PatienceScope patience(patience_);
      const job::Writing state = in_flight_ ? writing() : draining();
      const std::int64_t mine = state != job::Writing::kUnderWay  ? kWritten
                                : start - slow.taken > kKeepingUp ? kSlow
                                                                  : kWriting;
      all = comm::all_reduce_value(*job_.everyone, mine, comm::ReduceOp::kMax, "the writing of the save before");
      if (all == kWriting) std::this_thread::sleep_for(pause);
    }
    count_wait(slow, Clock::now() - start);
    if (all == kSlow) return false;
    if (all == kWritten && in_flight_)
      finish();
    else if (all == kWritten)
      finish_drain();
  }
  return true;
}

void Saver::count_wait(Moment& saved, Seconds waited) {
  saved.waited += waited;
  stall_ += waited;
  stalls_ += waited;
}

bool Saver::saves_on_nodes_after(std::int64_t step) const {
  return on_nodes_ && step % job_.config.checkpoint.local_every == 0;
}

void Saver::save_on_nodes(std::int64_t step, std::int64_t tokens) {
  if (in_flight_) {
    if (job_.root() && !told_skipped_)
      log::info(
          "no node-local checkpoint after step {}: the one after step {} is still on its way; later ones are left "
          "out without a word",
          step, last_.step);
    told_skipped_ = true;
    return;
  }
  begin_or_save(step, tokens, job_.config.checkpoint.async == "on", job::Level::kNodes);
}

void Saver::leave_in_order() {
  if (checkpoints_) checkpoints_->leave_in_order();
}

void Saver::save_and_wait(std::int64_t step, std::int64_t tokens, const char* why) {
  to_drain_ = drain_again_ = false;  // this one is newer
  wait_for_all();
  do {
    if (misses_ >= kSaveTries)
      throw IoError(
          "the save {} failed {} times; the checkpoint before it is intact: make room or repair the storage "
          "of {}, then start again",
          why, misses_, job_.run_dir.string());
    const Seconds before = stalls_;
    begin_or_save(step, tokens, false, job::Level::kRunDir);
    stalls_ = before;  // nobody is there to wait
  } while (misses_ > 0);
}

void Saver::wait_for_all() {
  while (in_flight_) finish();
  while (in_drain_) finish_drain();
}

void Saver::rescue() {
  try {
    wait_for_all();
  } catch (const Error& e) {
    log::error("what was being saved is lost: {}", e.what());
  }
}

void Saver::refuse_if_hopeless() const {
  if (misses_ >= kSaveTries)
    throw IoError(
        "{} saves in a row failed; the last checkpoint is intact: make room or repair the storage of {}, "
        "then start again",
        misses_, job_.run_dir.string());
}

void Saver::begin_or_save(std::int64_t step, std::int64_t tokens, bool background, job::Level level) {
  const job::InPhase phase(job_.watchdog, job::Phase::kSave);
  const comm::PatienceScope patience(patience_);
  const Clock::time_point start = Clock::now();
  level_ = level;
  last_.step = step;
  last_.bad_before = bad_.seen();
  job::SaveResult result;
  if (trainer_) {
    compare_replicas(*trainer_, step);
    const job::SaveState state = save_state(*trainer_, step, tokens, bad_);
    const std::vector<job::SaveTensor> slabs = slabs_to_save(*trainer_);
    result = background ? checkpoints_->begin(state, slabs, level) : checkpoints_->save(state, slabs, level);
  }
  last_.waited = Seconds(0);
  last_.taken = Clock::now();
  conclude(result, start);
}

void Saver::finish() {
  const job::InPhase phase(job_.watchdog, job::Phase::kSave);
  const comm::PatienceScope patience(patience_);
  const Clock::time_point start = Clock::now();
  job::SaveResult result;
  if (checkpoints_) result = checkpoints_->finish();
  conclude(result, start);
}

int Saver::agree(const job::SaveResult& result, bool mine, bool& on_its_way) {
  const std::int64_t all = comm::all_reduce_value(*job_.everyone, 2 * std::int64_t{result.misses} + mine,
                                                  comm::ReduceOp::kMax, "the working ranks to save");
  on_its_way = all % 2 != 0;
  return static_cast<int>(all / 2);
}

void Saver::conclude(const job::SaveResult& result, Clock::time_point start) {
  const bool background = in_flight_;
  const int misses = agree(result, checkpoints_ && checkpoints_->in_flight(), in_flight_);
  if (level_ == job::Level::kRunDir) misses_ = misses;
  count_wait(last_, Clock::now() - start);
  if (in_flight_) return;
  if (level_ == job::Level::kNodes) return conclude_on_nodes(result, misses, background);
  straight_ = false;  // not by one from the nodes, which may be older than what they refused
  conclude_in_run_dir(result, last_, background);
}

void Saver::conclude_in_run_dir(const job::SaveResult& result, const Moment& saved, bool background) {
  if (misses_ == 0) {
    bad_.committed(bad_.seen() - saved.bad_before);
    at_stake_since_ = saved.taken;
  }
  if (misses_ > 0) {
    if (job_.root())
      log::error("the save after step {} failed ({} of {} tries): {}", saved.step, misses_, kSaveTries, result.error);
    // Who leaves first ends the waits of the others: nobody does before rank 0 has said why.
    if (misses_ >= kSaveTries) job_.everyone->barrier("all ranks to know why saves fail");
    return;
  }
  if (!job_.root()) return;
  if (result.seconds > 0)
    save_times_->add(job_.attempt, saved.step, result.bytes, Seconds(result.seconds),
                     background ? std::optional(saved.waited) : std::nullopt);
  const std::string in_between = background ? fmt::format(", training waited {:.2f} s", saved.waited.count()) : "";
  log::info("saved {}{} ({:.1f} MB in {:.2f} s{})", result.name, &saved == &drained_ ? " from the nodes" : "",
            static_cast<double>(result.bytes) / 1e6, result.seconds, in_between);
}

void Saver::conclude_on_nodes(const job::SaveResult& result, int misses, bool background) {
  const bool wanted = std::exchange(to_drain_, false);
  on_nodes_ = misses < kSaveTries;
  if (misses > 0) {
    if (wanted) {
      straight_ = true;
      drain_again_ = false;
    }
    if (job_.root())
      log::warning("no node-local checkpoint after step {}: {}{}", last_.step, result.error,
                   on_nodes_ ? "" : "; there will be no more of them in this attempt");
    return;
  }
  bad_.committed(bad_.seen() - last_.bad_before);
  on_nodes_last_ = last_;
  if (job_.root() && result.seconds > 0)
    log::info("saved {} on the nodes ({:.1f} MB in {:.2f} s{})", result.name, static_cast<double>(result.bytes) / 1e6,
              result.seconds, background ? fmt::format(", training waited {:.2f} s", last_.waited.count()) : "");
  if (wanted && in_drain_)
    drain_again_ = true;
  else if (wanted)
    begin_drain();
}

/// Within a phase and patience for saves, as what comes before it.
void Saver::begin_drain() {
  const Clock::time_point start = Clock::now();
  drained_ = on_nodes_last_;
  conclude_drain(checkpoints_ ? checkpoints_->drain() : job::SaveResult{}, start);
}

void Saver::finish_drain() {
  const job::InPhase phase(job_.watchdog, job::Phase::kSave);
  const comm::PatienceScope patience(patience_);
  const Clock::time_point start = Clock::now();
  conclude_drain(checkpoints_ ? checkpoints_->finish_drain() : job::SaveResult{}, start);
  if (!in_drain_ && std::exchange(drain_again_, false) && misses_ == 0) begin_drain();
}

void Saver::conclude_drain(const job::SaveResult& result, Clock::time_point start) {
  misses_ = agree(result, checkpoints_ && checkpoints_->in_drain(), in_drain_);
  count_wait(drained_, Clock::now() - start);
  if (!in_drain_) conclude_in_run_dir(result, drained_, true);
}

double Saver::take_stall() {
  const double seconds = stall_.count();
  stall_ = Seconds(0);
  return seconds;
}

double Saver::stall_share() const { return stalls_ / std::max(Seconds(Clock::now() - first_step_), Seconds(1e-9)); }

void Saver::sum_up() const {
  if (job_.root() && stalls_ > Seconds(0))
    log::info("training waited {:.2f} s for checkpoints, {:.2f} % of {:.1f} s{}", stalls_.count(), 100 * stall_share(),
              Seconds(Clock::now() - first_step_).count(),
              left_out_ > 0 ? fmt::format("; {} were left out because storage was too slow", left_out_) : "");
}

}  // namespace banyan::train
