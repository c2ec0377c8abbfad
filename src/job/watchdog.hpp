// A thread of each rank that watches over the one that works, without MPI or UCX.  Two things end the job with
// ExitCode::kPeerLost and the stacks of all threads in RUN/stacks/ATTEMPT.RANK.txt:
//
//   - this rank gives no sign of life for longer than Quiet::limit: it hangs, in code, in a library or in a system
//   call;
//   - another rank hangs, which the waits of this one find out (comm.peer_timeout) or are told.  Its stacks show who
//     waited where.
//
// A rank that works notices by itself that the job failed and leaves in order; one that does not within kGrace is ended
// by its watchdog, which writes the cause record for it.  A process that is stopped from outside stops its watchdog
// too: the others find it by its silence.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

#include "comm/communicator.hpp"
#include "src/base/exit_code.hpp"
#include "src/job/quiet.hpp"

namespace banyan::job {

class Watchdog {
 public:
  explicit Watchdog(comm::World& world) : world_(world) {}
  ~Watchdog() { stop(); }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// From now on, with this least limit; 0: not at all.  By the thread that works and is the process's first; again
  /// when the job goes back and begins another attempt.  Commands that only read have no run directory: a rank that
  /// hangs then leaves its stacks in the log.
  void start(Seconds floor, std::filesystem::path run_dir, std::int64_t attempt);
  /// No longer: the rank leaves.  When the watchdog is about to end the process, this does not return.
  void stop();

  /// What the rank is at; gives what it was at before.
  Phase enter(Phase phase);
  /// Last step begun, for cause records.
  void at_step(std::int64_t step) { step_.store(step, std::memory_order_relaxed); }
  std::int64_t step() const { return step_.load(std::memory_order_relaxed); }

 private:
  void watch(Seconds floor);
  Signs signs() const;
  /// Writes the stacks, once.
  void dump(const std::string& why);
  [[noreturn]] void end(ExitCode code, const std::string& message, int peer, bool hang);

  comm::World& world_;
  std::filesystem::path run_dir_;
  std::int64_t attempt_ = 0;
  std::atomic<std::uint64_t> place_{0};  ///< phases entered and left so far, and the phase in the lowest byte
  std::atomic<std::uint32_t> left_{0};   ///< as Signs::left
  std::atomic<std::int64_t> step_{-1};
  std::atomic<bool> dumped_{false};
  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stop_ = false;
  std::thread thread_;
};

/// As long as it lives the rank is in this phase, which is also the Section that its waits are in.
class InPhase {
 public:
  InPhase(Watchdog& watchdog, Phase phase)
      : section_(std::string(name_of(phase))), watchdog_(watchdog), outer_(watchdog.enter(phase)) {}
  ~InPhase() { watchdog_.enter(outer_); }
  InPhase(const InPhase&) = delete;
  InPhase& operator=(const InPhase&) = delete;

 private:
  Section section_;
  Watchdog& watchdog_;
  Phase outer_;
};

}  // namespace banyan::job
