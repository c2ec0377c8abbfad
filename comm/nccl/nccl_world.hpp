// Collectives and messages of GPU memory by NCCL: communicators that hand what lies on the device to NCCL, and the rest
// to another communicator, of the same ranks.
//
// Each communicator of NCCL is made when it is first needed, without blocking, and has a stream of its own, so that
// sums overlap with what is computed.  Operations begin when the work given to their queue so far is done.  An Event
// whose wait() has returned, or which test() has found complete, is before all work given to its queue afterwards; the
// host does not wait for the GPU.  Messages have a communicator of two for each direction and channel, so that none
// stands behind one that goes the other way.  The order of sums is NCCL's affair.
//
// NCCL itself waits for ever.  Whoever waits for the GPU calls check() meanwhile, as test(), wait() and progress() do:
// it asks NCCL for errors, the host communicators for ranks that failed, and takes note of operations in which nothing
// moves.  After half of peer_timeout members tell each other over the host where they are (roll_call.hpp): that finds
// calls that do not fit together; a member that does not answer for another peer_timeout is to blame, or whom it waits
// for in turn.  Whatever goes wrong aborts all of NCCL's communicators, so that streams are free again, and ends in a
// CommError that names the operation; later calls throw the same.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "comm/communicator.hpp"

namespace banyan::comm {

struct NcclOptions {
  Seconds peer_timeout{20};
  int device = 0;                      ///< number of this rank's GPU; no other rank has it
  std::function<void*(Queue)> stream;  ///< the cudaStream_t behind a queue
};

/// Of one thread.
class NcclWorld {
 public:
  /// After its groups.
  virtual ~NcclWorld() = default;
  /// "NCCL 2.28.9"
  virtual std::string describe() const = 0;
  virtual std::unique_ptr<Communicator> group(std::unique_ptr<Communicator> host) = 0;
  /// Looks after all that is under way, see above.
  virtual void check() = 0;
  /// Ends all that is under way, as a failure does: before memory of the GPU is given back while an exception unwinds,
  /// which would wait for it.
  virtual void abort(const std::string& why) noexcept = 0;
};

/// Why this program cannot have NCCL: it is not linked with it, or the library is too old.  Empty: it can.
std::string nccl_problem();
/// ConfigError with that problem.
std::unique_ptr<NcclWorld> make_nccl_world(NcclOptions options);

}  // namespace banyan::comm
