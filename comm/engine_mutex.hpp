// The lock of an Engine: recursive, and held by one thread nearly always.  Every message takes it twice, so that what a
// std::recursive_mutex spends on it (two atomic exchanges and the bookkeeping of waiters) shows in the latency of small
// ones.  Who meets it held spins, yields, then sleeps (Backoff); nobody is woken.  For std::lock_guard and unique_lock.
#pragma once

#include <atomic>

#include "src/base/section.hpp"

namespace banyan::comm {

class EngineMutex {
 public:
  void lock() {
    if (!try_lock()) lock_later();
  }
  bool try_lock() {
    const void* const me = &self_;
    if (owner_.load(std::memory_order_relaxed) == me) {  // nobody else writes this thread's mark
      ++depth_;
      return true;
    }
    const void* nobody = nullptr;
    return owner_.compare_exchange_strong(nobody, me, std::memory_order_acquire, std::memory_order_relaxed);
  }
  void unlock() {
    if (depth_ > 0)
      --depth_;
    else
      owner_.store(nullptr, std::memory_order_release);
  }

 private:
  void lock_later() {
    for (Backoff backoff; !try_lock(); backoff.pause()) {
    }
  }
  static inline thread_local char self_ = 0;  // its address marks a thread
  std::atomic<const void*> owner_{nullptr};
  int depth_ = 0;  // calls of lock by the owner beyond the first
};

}  // namespace banyan::comm
