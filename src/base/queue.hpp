// Handles for ordered execution.  Work given to one Queue runs in order; an Event completes when what it stands for is
// done.  On CPU a queue runs everything at once, so its events are born complete; messages make real events there too.
#pragma once

#include <memory>
#include <utility>

namespace banyan {

/// Names a stream of a device; the default queue belongs to every backend.
struct Queue {
  void* handle = nullptr;
};

/// A value; copies stand for the same completion.  Not thread-safe: test and wait on the thread that started the work.
class Event {
 public:
  /// What a producer implements.
  struct State {
    virtual ~State() = default;
    virtual bool test() = 0;  ///< makes progress, never blocks; true when complete; throws what went wrong
    virtual void wait() = 0;  ///< returns when complete; has a deadline of its own and names what it waited for
  };
  Event() = default;  ///< complete
  explicit Event(std::shared_ptr<State> state) : state_(std::move(state)) {}
  bool test() {
    if (state_ && state_->test()) state_.reset();
    return !state_;
  }
  void wait() {
    if (state_) state_->wait();
    state_.reset();
  }

 private:
  std::shared_ptr<State> state_;
};

}  // namespace banyan
