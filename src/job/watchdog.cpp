#include "src/job/watchdog.hpp"

#include <unistd.h>

#include <optional>
#include <utility>

#include "io/atomic_file.hpp"
#include "src/base/log.hpp"
#include "src/base/signals.hpp"
#include "src/base/stacks.hpp"
#include "src/job/causes.hpp"

namespace banyan::job {
namespace {

constexpr Seconds kEvery{0.5};    // between looks
constexpr Seconds kGrace{4};      // for a rank that works to notice that the job failed
constexpr Seconds kAnswer{0.5};   // of a thread that is asked where it is
constexpr Seconds kMeeting{8};    // with the others, before the first of them leaves
constexpr unsigned kAtLast = 30;  // whole seconds for all of ending, should storage hang too
constexpr std::uint64_t kPhaseBits = 8;

}  // namespace

void Watchdog::start(Seconds floor, std::filesystem::path run_dir, std::int64_t attempt) {
  stop();
  if (floor <= Seconds::zero()) return;
  stop_ = false;
  left_ = 0;
  run_dir_ = std::move(run_dir);
  attempt_ = attempt;
  if (!run_dir_.empty())
    world_.on_hang([this] { dump("another rank hangs; this one waits for it, directly or through others"); });
  thread_ = std::thread([this, floor] { watch(floor); });
}

void Watchdog::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_all();
  thread_.join();
  world_.on_hang(nullptr);
}

Phase Watchdog::enter(Phase phase) {
  const std::uint64_t before = place_.load(std::memory_order_relaxed);
  const std::uint64_t count = (before >> kPhaseBits) + 1;
  const auto outer = static_cast<Phase>(before & ((1 << kPhaseBits) - 1));
  left_.fetch_or(1u << static_cast<unsigned>(outer), std::memory_order_relaxed);
  place_.store(count << kPhaseBits | static_cast<std::uint64_t>(phase), std::memory_order_relaxed);
  return outer;
}

Signs Watchdog::signs() const {
  const std::uint64_t place = place_.load(std::memory_order_relaxed);
  return {static_cast<Phase>(place & ((1 << kPhaseBits) - 1)), place >> kPhaseBits, world_.signs_of_life(),
          left_.load(std::memory_order_relaxed)};
}

void Watchdog::watch(Seconds floor) {
  Quiet quiet(floor, Clock::now());
  std::optional<comm::PeerFailure> failure;
  Seconds since_failure{0};
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      if (stopping_.wait_for(lock, kEvery, [this] { return stop_; })) return;
    }
    quiet.look(signs(), Clock::now());
    if (!failure) failure = world_.overhear();
    if (failure) {
      since_failure += kEvery;
      if (since_failure > kGrace)
        end(static_cast<ExitCode>(failure->code), failure->message, failure->rank, failure->hang);
    } else if (quiet.expired()) {
      end(ExitCode::kPeerLost,
          fmt::format("it hangs: no sign of life for {:.1f} s in {} (limit {:.1f} s)", quiet.quiet().count(),
                      name_of(quiet.phase()), quiet.limit().count()),
          world_.rank(), true);
    }
  }
}

void Watchdog::dump(const std::string& why) {
  if (dumped_.exchange(true)) return;
  try {
    const std::string text =
        fmt::format("rank {} on {}, step {}: {}\n\n", world_.rank(), world_.host(world_.rank()), step() + 1, why) +
        stacks_of_all_threads(kAnswer);
    if (run_dir_.empty()) return log::error("{}", text);
    io::make_directories(run_dir_ / "stacks");
    io::write_atomic(run_dir_ / "stacks" / fmt::format("{}.{}.txt", attempt_, world_.rank()), text);
  } catch (const std::exception& e) {
    log::warning("cannot write the stacks of this rank: {}", e.what());
  }
}

// The record comes first: what follows asks other threads, writes a longer file and may find the storage gone.
void Watchdog::end(ExitCode code, const std::string& message, int peer, bool hang) {
  signals::exit_by(kAtLast, static_cast<int>(code));
  const int self = world_.rank();
  const ThreadStack worker = stack_of(::getpid(), kAnswer);
  const std::string where = fmt::format("rank {} on {}", peer, world_.host(peer));
  const bool recorded = !run_dir_.empty();
  const std::string what =
      hang && recorded ? fmt::format("{}; see stacks/{}.{}.txt", message, attempt_, peer) : message;
  const bool written = recorded && write_cause(run_dir_, {.attempt = attempt_,
                                                          .rank = self,
                                                          .host = world_.host(self),
                                                          .code = code,
                                                          .message = where + " failed: " + what,
                                                          .reason = {},
                                                          .waiting_for = worker.sections,
                                                          .peer = peer,
                                                          .peer_host = world_.host(peer),
                                                          .step = step()});
  if (hang && (recorded || peer == self)) dump(peer == self ? message : fmt::format("{}: {}", where, message));
  // Nobody else speaks for rank 0.
  if (self == 0 || !written) log::error("{}: {}", where, what);
  world_.leave_stuck(static_cast<int>(code), what, kMeeting);
  log::flush();
  ::_exit(static_cast<int>(code));
}

}  // namespace banyan::job
