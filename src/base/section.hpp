// Named deadline scopes.  Every wait of the program opens a Section that says what is waited for and for how long; the
// innermost section of each thread is what error messages, cause records and the watchdog report.
// A Section may be opened on any thread; it is closed by its destructor on the same thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace banyan {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

class Section {
 public:
  /// Opens "what"; a limit of zero inherits the deadline of the enclosing section (none at the outermost).
  /// The effective deadline is never later than the enclosing one.
  explicit Section(std::string what, Seconds limit = Seconds::zero());
  ~Section();
  Section(const Section&) = delete;
  Section& operator=(const Section&) = delete;

  /// True once the deadline has passed.
  bool expired() const;
  /// Throws CommError "waited 20.0 s for WHAT (in OUTER)" once the deadline has passed.
  void check() const;
  /// "inner (in outer)" of the calling thread; empty outside any section.
  static std::string trail();
  /// The same into `out`, cut to `bytes` with the final zero; may be called in a signal handler.
  static void copy_trail(char* out, std::size_t bytes) noexcept;
  /// The trail at the place where the last exception that left a section of this thread was thrown, for cause records;
  /// forgotten when read.
  static std::string take_failed_trail();

 private:
  std::string what_;
  Clock::time_point opened_, deadline_;
  Section* outer_;
  int exceptions_;      ///< under way when this was opened
  bool noted_ = false;  ///< an inner section has noted the trail of the exception that leaves this one
};

/// One turn of waiting for another core: no more than a hint to the processor.
inline void spin_once() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Waits without burning a core that another rank needs: spins a little, then yields, then sleeps up to a millisecond.
class Backoff {
 public:
  Backoff() = default;
  /// For who has spun already.
  static Backoff yielding() {
    Backoff b;
    b.count_ = kSpins;
    return b;
  }
  void pause();
  void reset() { count_ = 0; }
  /// The next pause is a sleep.
  bool sleeps() const { return count_ >= kYields; }

 private:
  static constexpr int kSpins = 64, kYields = 4096;
  int count_ = 0;
};

}  // namespace banyan
