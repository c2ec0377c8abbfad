// Collectives and messages of device memory over a transport that reads host memory only: each goes through a buffer of
// host memory and another communicator.  Views of host memory are passed on as they are.
//
// Nobody waits for the device when a call is made: the copy to the host stands behind what computes the data, and the
// operation begins when somebody looks (test, wait, progress of any group of the Stager) and finds the copy there.
// Operations of one Stager begin in the order of their calls, and before any wait of its groups for others all that was
// called has begun: a rank never waits for somebody who waits for it.  What is received is copied back when the Event
// is found complete, in the queue: work given to the queue afterwards sees it.
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
  /// A copy to the host, behind all work given to the queue so far and beside what it is given afterwards; complete
  /// when it is there.
  std::function<Event(Queue, View host, ConstView device)> fetch;
  /// A copy to the device in the order of the queue; complete when the host's memory may be written again.
  std::function<Event(Queue, View device, ConstView host)> put;
};

/// Buffers, and operations whose copy is on its way, of the groups of one thread.
class Stager;
/// What `staging` asks lives until the last Event is complete and the Stager and its groups are gone.
std::shared_ptr<Stager> make_stager(HostStaging staging);

std::unique_ptr<Communicator> make_staged_group(std::unique_ptr<Communicator> host, std::shared_ptr<Stager> stager);

}  // namespace banyan::comm
