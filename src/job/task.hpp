// Work on a thread of its own, which may hang in the system: whoever waits for it has a deadline, and whoever has had
// enough lets it go.  The work must not use communicators, and what it refers to must outlive it: a thread that hangs
// keeps its copy of the function.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "src/base/section.hpp"

namespace banyan::job {

/// How the work of one rank ended.
struct Outcome {
  int code = 0;         ///< 0, or the ExitCode of the error; kGaveUp for work that ended because another rank failed
  std::string message;  ///< the error's words
  static constexpr int kGaveUp = -1;
  /// Throws a failure as the error class of its code.
  [[noreturn]] void raise() const;
};

class Task {
 public:
  /// Begins; `work` may be empty, which is done at once.  The work ends with an IoError soon after `cancel` is set.
  explicit Task(std::function<void(const std::atomic<bool>& cancel)> work);
  /// Cancels and joins; lets the thread go when it hangs in the system, where nothing can end it.
  ~Task();
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  /// Waits at most so long; true when it is done.
  bool wait(Seconds time) const;
  bool done() const { return wait(Seconds(0)); }
  /// Of work that is done.
  const Outcome& outcome() const;
  /// From the beginning to the end, or until now.
  Seconds age() const;
  void cancel();

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

}  // namespace banyan::job
