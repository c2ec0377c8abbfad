// Collectives and messages of device memory over a transport that reads host memory only: each goes through a buffer of
// host memory and another communicator.  Views of host memory are passed on as they are.
//
// What is sent is copied out when the call is made, and the host waits for that copy: it stands in the queue behind
// what computes the data.  What is received is copied back when the Event is found complete, in the queue: work given
// to the queue afterwards sees it, and nobody waits for the copy.  Buffers are kept and used again when the copy back
// has run.
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
  CopyFunction copy;                   ///< between both kinds of memory, in the order of the queue, without waiting
  std::function<Event(Queue)> record;  ///< complete when all work given to the queue so far is
  bool direct_messages = false;        ///< the transport reads and writes the device's memory itself: messages are not
                                       ///< copied, but begin when the queue has done what it was given so far
};

/// `staging` lives until the last Event is complete and this is gone.
std::unique_ptr<Communicator> make_staged_group(std::unique_ptr<Communicator> host, HostStaging staging);

}  // namespace banyan::comm
