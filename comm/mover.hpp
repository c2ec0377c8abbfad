// A Mover is a thread that advances what is in flight in an Engine while the rank's own thread computes, so that
// messages between nodes travel although nobody looks after them.  While another thread waits it keeps out of the way,
// and with nothing in flight it sleeps until something is.  What goes wrong ends all operations, as anywhere else; the
// rank's own thread learns of it by its next call.  It gives no signs of life: those are the rank's.
#pragma once

#include <atomic>
#include <thread>

#include "comm/engine.hpp"

namespace banyan::comm {

class Mover {
 public:
  /// `engine` outlives it.
  explicit Mover(Engine& engine);
  /// Ends the thread; what is in flight stays so.
  ~Mover();
  Mover(const Mover&) = delete;
  Mover& operator=(const Mover&) = delete;

 private:
  void run() noexcept;

  Engine& engine_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace banyan::comm
