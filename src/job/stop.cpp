#include "src/job/stop.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdlib>

#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/base/signals.hpp"
#include "src/base/units.hpp"
#include "src/job/deadline.hpp"
#include "src/job/setup.hpp"

namespace banyan::job {

namespace {

struct Words {
  std::string_view name, sentence;
};

constexpr std::array<Words, kStopReasons> kWords{{
    {"", "nothing asked for it"},
    {"halt-file", "the file `stop` in the run directory asked for it"},
    {"signal", "a signal asked for it"},
    {"time-limit", "the batch system will soon end the job"},
    {"max-time", "train.max_time is over"},
}};

const Words& words(StopReason reason) { return kWords[static_cast<std::size_t>(reason)]; }

}  // namespace

std::string_view name_of(StopReason reason) { return words(reason).name; }
std::string_view sentence_of(StopReason reason) { return words(reason).sentence; }

StopOptions stop_options(const Job& job) {
  StopOptions options;
  options.run_dir = job.run_dir;
  options.root = job.root();
  options.started = job.started;
  options.max_time = Seconds(job.config.train.max_time);
  if (!job.root()) return options;
  TimeLimit limit;
  limit.left = Seconds(job.config.run.time_left);
  if (const char* end = std::getenv("SLURM_JOB_END_TIME")) limit.slurm_end = end;
  const Seconds unix_now = std::chrono::system_clock::now().time_since_epoch();
  options.batch_end = limit.end(job.started, Clock::now(), unix_now.count());
  return options;
}

void StopWatch::announce() const {
  if (!options_.batch_end) return;
  const double left = std::max(0.0, Seconds(*options_.batch_end - Clock::now()).count());
  log::info("the batch system ends this job in {}; it stops by itself before", format_seconds(left));
}

StopReason StopWatch::vote(std::int64_t step, Seconds until_gone) {
  if (options_.root && halted(step)) return StopReason::kHaltFile;
  if (signals::stop_requests() > 0) return StopReason::kSignal;
  if (!options_.root) return StopReason::kNone;
  const Clock::time_point now = Clock::now();
  if (options_.batch_end && now + until_gone >= *options_.batch_end) return StopReason::kTimeLimit;
  if (options_.max_time > Seconds::zero() && now - options_.started > options_.max_time) return StopReason::kMaxTime;
  return StopReason::kNone;
}

bool StopWatch::halted(std::int64_t step) {
  const Clock::time_point now = Clock::now();
  if (now >= next_look_) {
    next_look_ = now + std::chrono::duration_cast<Clock::duration>(options_.look_every);
    look();
  } else if (halt_ && halt_->due(step)) {
    look();  // it may have been changed a moment ago
  }
  return halt_ && halt_->due(step);
}

void StopWatch::look() {
  try {
    halt_ = read_halt(options_.run_dir);
    blind_ = false;
  } catch (const IoError& e) {
    if (!blind_) log::warning("nobody can stop this job by a file for now: {}", e.what());
    blind_ = true;
  }
}

void StopWatch::leave(std::int64_t step) const {
  try {
    const std::optional<Halt> halt = read_halt(options_.run_dir);
    if (halt && halt->due(step)) remove_halt(options_.run_dir);
  } catch (const IoError& e) {
    log::warning("the next start will stop at once, because the file that stopped this one stays: {}", e.what());
  }
}

}  // namespace banyan::job
