// A Transport moves bytes between the ranks of a World: non-blocking messages matched by (sender, tag) in the order in
// which they were posted.  It knows nothing of groups, plans or deadlines; comm/engine.hpp adds those.
//
// Rules for every implementation:
//   - send and receive return at once; buffers belong to the transport until the request is finished.
//   - Nothing advances outside progress(), send and receive; progress never blocks.
//   - A message longer or shorter than its receive fails the receive.
//   - A message whose sequence number is not the one its receive expects fails the receive, where the transport carries
//     sequence numbers (carries_sequence).
//   - A dead peer may look like silence; comm/lifeline.hpp is there to notice.  A transport that notices fails what is
//     posted to or from that peer.
//   - Calls come from one thread at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "comm/communicator.hpp"
#include "src/base/dtype.hpp"
#include "src/base/section.hpp"

namespace banyan::comm {

/// What a message is for: a communicator's id and a stream inside it.  23 bits, the narrowest tag of a common MPI
/// library (Open MPI over UCX).
///   22       11 10  9          0
///   [ group id ][c][ stream    ]     c = 1: collective, stream = its sequence number modulo 1024
///                                    c = 0: point to point, stream = channel
struct Tag {
  std::uint32_t bits = 0;
  static Tag collective(int group, std::uint64_t sequence) {
    return {static_cast<std::uint32_t>(group) << 11 | 1u << 10 | static_cast<std::uint32_t>(sequence & 1023u)};
  }
  static Tag channel(int group, int channel) {
    return {static_cast<std::uint32_t>(group) << 11 | static_cast<std::uint32_t>(channel)};
  }
  bool operator==(const Tag&) const = default;
};
inline constexpr std::uint64_t kSequences = 1024;      ///< collectives of a communicator whose tags differ
inline constexpr int kLeavingGroup = kMaxGroupId + 1;  ///< the last barrier's id

/// One message under way.  Made and freed by its transport.
class Request {
 public:
  enum class State : std::uint8_t { kPending, kDone, kFailed };
  State state() const { return state_.load(std::memory_order_acquire); }
  const std::string& error() const { return error_; }  ///< when failed; a sentence without a full stop
  bool peer_lost() const { return peer_lost_; }        ///< when failed: nothing more will come from or go to the peer

 protected:
  Request() = default;
  ~Request() = default;
  void finish() { state_.store(State::kDone, std::memory_order_release); }
  /// As if it were made anew.
  void restart() {
    error_.clear();
    peer_lost_ = false;
    state_.store(State::kPending, std::memory_order_relaxed);
  }
  void fail(std::string error, bool peer_lost = false) {
    error_ = std::move(error);
    peer_lost_ = peer_lost;
    state_.store(State::kFailed, std::memory_order_release);
  }

 private:
  std::atomic<State> state_{State::kPending};
  std::string error_;
  bool peer_lost_ = false;
};

/// What is sent or received.
struct Message {
  int peer = -1;  ///< world rank of the other side
  Tag tag;
  std::uint32_t sequence = 0;  ///< the how-many-eth of its stream (peer, tag), counted by both sides
  std::byte* data = nullptr;   ///< not written when sending
  std::size_t bytes = 0;
  MemoryKind kind = MemoryKind::kHost;
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string name() const = 0;
  /// Sequence numbers travel with the messages and are compared, modulo 2^20 at least.
  virtual bool carries_sequence() const { return false; }

  virtual Request* send(const Message& message) = 0;
  virtual Request* receive(const Message& message) = 0;
  virtual void progress() = 0;
  /// Sleeps until something may have come or `longest` has passed.  False, at once, where that is not possible; the
  /// caller then sleeps without being woken.
  virtual bool doze(Seconds /*longest*/) { return false; }
  /// The same in two steps, for who sleeps without keeping others out: a descriptor that becomes readable when something
  /// may have come after this call, or one of the two below.  It lives as long as the transport.
  virtual int arm() { return kCannotTell; }
  static constexpr int kCannotTell = -1, kHasCome = -2;
  /// Memory from which messages are sent, or into which they are received, again and again: registered with the network
  /// until as many calls of unpin.  Both are hints.
  virtual void pin(const std::byte* /*data*/, std::size_t /*bytes*/) {}
  virtual void unpin(const std::byte* /*data*/) {}
  /// Gives a request back.  A pending receive is cancelled: its buffer is not written afterwards unless its message was
  /// already arriving, which is then waited for, a second at most.  A pending send is left to finish by itself.
  virtual void release(Request* request) = 0;
  /// Gives a request up after a failure, when the buffers of others may be gone already: advances nothing.  The
  /// transport is not used afterwards.
  virtual void forget(Request* request) = 0;
};

/// Puts something between a World and its transport, for tests.
using TransportWrap = std::function<std::unique_ptr<Transport>(std::unique_ptr<Transport>)>;

}  // namespace banyan::comm
