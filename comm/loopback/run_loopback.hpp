// run_loopback of communicator.hpp with something between the ranks and their messages: faults, for tests.
#pragma once

#include <functional>
#include <memory>

#include "comm/communicator.hpp"
#include "comm/transport.hpp"

namespace banyan::comm {

/// `wrap` is called once on every rank's thread.
void run_loopback_wrapped(int size, const TransportWrap& wrap, const std::function<void(World&)>& body,
                          int ranks_per_node = 1 << 30);

}  // namespace banyan::comm
