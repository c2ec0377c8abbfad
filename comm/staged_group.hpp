// Collectives and messages of device memory over a transport that reads host memory: each goes through a buffer of host
// memory and another communicator, or, for messages where the transport reads the device's memory itself, begins once
// the device has come to them.  What concerns host memory is handed on.
//
// Nobody waits for the device when a call is made: the copy to the host stands behind what computes the data, beside
// what the queue is given afterwards, and the operation begins when somebody looks (test, wait, progress of any group)
// and finds the copy there.  Operations of one StagedWorld begin in the order of their calls, whatever memory they are
// about, and all of them have begun before a wait for other ranks: no rank waits for one that waits for it.  So every
// communicator that a thread waits with belongs to the same StagedWorld.  What is received is copied back when somebody
// looks, beside what computes; work given to the queue after the Event was found complete runs after that copy.
// Arguments that do not fit are complained of when an operation begins.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "comm/communicator.hpp"

namespace banyan::comm {

/// What is asked of the device, of which comm knows nothing.
struct HostStaging {
  /// Host memory, as fast for copies as there is; freed with the last pointer to it.  ConfigError when there is none.
  std::function<std::shared_ptr<std::byte>(std::size_t bytes)> allocate;
  CopyFunction copy;                       ///< between both kinds of memory, in the order of the queue, without waiting
  std::function<Event(Queue)> record;      ///< complete when all work given to the queue so far is
  std::function<void(Queue, Event)> wait;  ///< later work of the queue runs after what was recorded; returns at once
  Queue to_host, to_device;                ///< for copies beside what computes, in either direction
  bool direct_messages = false;            ///< the transport reads and writes the device's memory itself
  Seconds limit{600};                      ///< longest wait for the device
};

/// Of one thread.
class StagedWorld {
 public:
  /// After its groups.
  virtual ~StagedWorld() = default;
  virtual std::unique_ptr<Communicator> group(std::unique_ptr<Communicator> host) = 0;
  /// Moves all that is under way in any group; never blocks.  For who waits for the device meanwhile.
  virtual void look() = 0;
};

/// What `staging` asks lives until the last Event is complete and the StagedWorld is gone.
std::unique_ptr<StagedWorld> make_staged_world(HostStaging staging);

}  // namespace banyan::comm
