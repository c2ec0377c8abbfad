// The Engine of a World holds every operation in flight, of whichever communicator, and advances them all whenever
// anybody looks: that is what lets a wait in one group end although its peers wait in another.  It also decides when
// waiting has been in vain.
//
// Any thread may call; calls are serialised.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/engine_mutex.hpp"
#include "comm/lifeline.hpp"
#include "comm/transport.hpp"
#include "src/base/error.hpp"
#include "src/base/queue.hpp"
#include "src/base/section.hpp"

namespace banyan::comm {

class Engine;

/// A transport lost the way to a peer.  Why is better known to the lifeline, a moment later.
class PeerLostError : public CommError {
 public:
  PeerLostError(int rank, std::string reason, const std::string& message)
      : CommError("{}", message), rank_(rank), reason_(std::move(reason)) {}
  int rank() const { return rank_; }
  const std::string& reason() const { return reason_; }  ///< the transport's words

 private:
  int rank_;
  std::string reason_;
};

/// What an operation is called in messages, "all-reduce gradients of data group 0"; put together when somebody asks.
struct Label {
  const char* call = "";
  std::string what;
  std::shared_ptr<const std::string> group;
  std::string text() const { return std::string(call) + " " + what + " of " + *group; }
};

/// Something in flight.  Derived classes implement advance and give_up, which the Engine calls under its lock.
class Operation : public Event::State {
 public:
  /// `silence` is how long no progress is borne.
  Operation(Engine& engine, Label label, Seconds silence);
  bool test() final;
  void wait() final;
  bool done() const { return done_; }
  std::string what() const { return label_.text(); }

  /// Does what can be done now; true when something moved.  Sets done when nothing is left.  Throws what goes wrong.
  virtual bool advance() = 0;
  /// Gives all requests back: releases them when all is well, forgets them after a failure.  The operation will not be
  /// advanced again.
  virtual void give_up(bool after_failure) = 0;
  /// World rank the operation waits for just now, -1 for none in particular.
  virtual int waits_for() const = 0;
  /// False when advance would do nothing; may be asked often.
  virtual bool can_advance() const { return true; }
  /// Whether what it waits for wakes a transport that dozes.
  virtual bool woken_by_messages() const { return true; }

 protected:
  void finish() { done_ = true; }
  /// As if it were made anew, for another purpose of the same group; nothing is in flight.
  void restart(const char* call, std::string_view what);

 private:
  friend class Engine;
  Engine& engine_;
  Label label_;
  const Seconds silence_limit_;
  std::atomic<bool> done_{false};
  bool told_ = false;  // the others know that it takes long
  // Silence counts only while somebody looks, and a look counts for little: a rank that computed, swapped or was
  // stopped for a minute does not blame its peers for it.
  Seconds silence_{0};
  Clock::time_point last_look_{};
};

/// Memory of the interpreter's scratch buffers, reused from operation to operation; any thread may call.
class ScratchPool {
 public:
  struct Block {
    std::unique_ptr<std::byte[]> memory;
    std::size_t bytes = 0;
  };
  Block take(std::size_t bytes);
  void give(Block block);

 private:
  std::mutex mutex_;
  std::vector<Block> free_;
};

class Engine {
 public:
  /// `peer_names[r]` is "rank 3 on n1".
  Engine(Transport& transport, Lifeline& lifeline, std::vector<std::string> peer_names);

  /// Takes the operation in and gives everything a push.
  void start(std::shared_ptr<Operation> operation);
  /// Takes in an operation that can only wait as yet.  The caller holds mutex().
  void adopt(std::shared_ptr<Operation> operation);
  /// Advances everything; true when something moved.  Leaves it to another thread that is doing so.
  bool progress();
  /// Ends everything in flight; later calls throw CommError(why).  Only the first call counts.
  void give_up(const std::string& why) noexcept;
  /// Drops one operation without blaming anybody.
  void drop(const std::shared_ptr<Operation>& operation) noexcept;
  bool failed() const { return failed_; }
  /// Whom this rank found missing, and what the others are told of it; under the lock.
  const std::optional<PeerFailure>& verdict() const { return verdict_; }

  Transport& transport() { return *transport_; }
  /// From now on messages go through another transport.  Nothing is in flight, on any rank.
  void use(Transport& transport);
  ScratchPool& scratch() { return scratch_; }
  const std::string& peer_name(int world_rank) const { return peer_names_[static_cast<std::size_t>(world_rank)]; }
  EngineMutex& mutex() { return mutex_; }
  /// World::signs_of_life; without the lock.
  std::uint64_t signs_of_life() const { return signs_.load(std::memory_order_relaxed); }
  void give_sign() { signs_.fetch_add(1, std::memory_order_relaxed); }
  /// World::waited.
  Seconds waited() const { return Seconds(waited_.load(std::memory_order_relaxed)); }
  /// World::on_hang.
  void on_hang(std::function<void()> call);

  // For a Mover.
  enum class Found : std::uint8_t { kSomething, kNothing, kIdle, kFailure };
  struct Look {
    Found found = Found::kNothing;
    int descriptor = Transport::kCannotTell;  ///< with kNothing: Transport::arm
  };
  /// Advances everything, but asks nobody who failed.  kIdle: nothing is in flight.
  Look move() noexcept;
  /// Some thread waits for long, and advances everything by itself.
  bool is_waited_in() const { return waiting_.load(std::memory_order_relaxed) > 0; }
  /// After kIdle: returns when something is in flight, or after wake_idle, which sets `stop` before.
  void sleep_while_idle(const std::atomic<bool>& stop);
  void wake_idle();

 private:
  friend class Operation;
  /// What progress does, under the lock.  Looks for what `awaited` waits for some times before it turns to the rest.
  bool advance_all(const Operation* awaited = nullptr, bool ask_for_failures = true);
  void drop_done();
  /// Throws what the lifeline knows of a failure.
  void ask_lifeline();
  /// The same, or what it comes to know until then.
  void ask_lifeline(Clock::time_point until);
  /// Sleeps until the transport has something, a moment at most; false where it cannot tell.
  bool nap();
  /// Ends a wait in vain: finds who is to blame and throws.
  /// The rank to blame when an operation waits in vain; -1: none in particular.
  int suspect(const Operation& operation) const;
  /// Whether the rank to blame for a silence is known to get ahead with its work.
  bool gets_ahead(const Operation& operation, Seconds limit) const;
  /// Does what on_hang asked for.
  void hang_found();
  [[noreturn]] void blame(const Operation& operation, Seconds limit);
  /// One look at an operation: true when complete.  Throws when things failed or it was silent for too long.
  bool look(Operation& operation);
  /// A few looks that do not ask the clock.
  bool glance(Operation& operation);

  Transport* transport_;
  Lifeline& lifeline_;
  unsigned looks_ = 0;
  Clock::time_point next_poll_{};
  const std::vector<std::string> peer_names_;
  EngineMutex mutex_;
  std::optional<std::string> failure_;
  std::atomic<bool> failed_{false};  ///< there is one
  std::optional<PeerFailure> verdict_;
  ScratchPool scratch_;
  std::function<void()> on_hang_;
  std::atomic<std::uint64_t> signs_{0};
  std::atomic<double> waited_{0};  // seconds
  std::atomic<int> waiting_{0};    ///< threads in a wait that takes long
  std::atomic<bool> idle_{false};  ///< a Mover sleeps until something is in flight; set under the lock
  bool advancing_ = false;
  std::vector<std::shared_ptr<Operation>> active_;  ///< in flight, and perhaps one that has ended
  bool ended_ = false;                              ///< there is such a one
};

}  // namespace banyan::comm
