#include "src/job/task.hpp"

#include <condition_variable>
#include <mutex>
#include <utility>

#include "src/base/error.hpp"

namespace banyan::job {
namespace {

constexpr Seconds kGrace{5};

}  // namespace

void Outcome::raise() const {
  if (code == kGaveUp) throw IoError("{}", message);
  switch (static_cast<ExitCode>(code)) {
    case ExitCode::kUsage:
      throw UsageError("{}", message);
    case ExitCode::kBadData:
      throw DataError("{}", message);
    case ExitCode::kPeerLost:
      throw CommError("{}", message);
    case ExitCode::kRunHeld:
      throw RunHeldError("{}", message);
    case ExitCode::kIoFailed:
      throw IoError("{}", message);
    case ExitCode::kNumbersWrong:
      throw NumericsError("{}", message);
    case ExitCode::kConfig:
      throw ConfigError("{}", message);
    default:
      throw BugError("{}", message);
  }
}

/// Also the thread's, which may outlive the Task when a system call never returns.
struct Task::Shared {
  std::function<void(const std::atomic<bool>&)> work;
  const Clock::time_point begun = Clock::now();
  std::atomic<bool> cancel{false};
  std::mutex mutex;
  std::condition_variable finished;
  bool done = false;
  Clock::time_point ended;
  Outcome outcome;

  void run() {
    Outcome result;
    try {
      if (work) work(cancel);
    } catch (const Error& e) {
      result = {static_cast<int>(e.code()), e.what()};
    } catch (const std::exception& e) {
      result = {static_cast<int>(ExitCode::kBug), std::string("unexpected error: ") + e.what()};
    }
    if (result.code == static_cast<int>(ExitCode::kIoFailed) && cancel) result.code = Outcome::kGaveUp;
    std::lock_guard lock(mutex);
    outcome = std::move(result);
    ended = Clock::now();
    done = true;
    finished.notify_all();
  }
};

Task::Task(std::function<void(const std::atomic<bool>& cancel)> work) : shared_(std::make_shared<Shared>()) {
  shared_->work = std::move(work);
  if (shared_->work)
    thread_ = std::thread([s = shared_] { s->run(); });
  else
    shared_->run();
}

Task::~Task() {
  if (!thread_.joinable()) return;
  cancel();
  if (wait(kGrace))
    thread_.join();
  else
    thread_.detach();
}

bool Task::wait(Seconds time) const {
  std::unique_lock lock(shared_->mutex);
  return shared_->finished.wait_for(lock, time, [this] { return shared_->done; });
}

const Outcome& Task::outcome() const {
  if (!done()) throw BugError("work under way was asked how it ended");
  return shared_->outcome;
}

Seconds Task::age() const {
  std::lock_guard lock(shared_->mutex);
  return (shared_->done ? shared_->ended : Clock::now()) - shared_->begun;
}

void Task::cancel() { shared_->cancel = true; }

}  // namespace banyan::job
