// Ranks as threads with nothing but a transport.
#pragma once

#include <functional>
#include <memory>

#include "comm/transport.hpp"

namespace banyan::comm {

/// Every rank's thread calls `body` with a loopback transport.  Rethrows the first exception after all have ended.
void run_on_threads(int ranks, const std::function<void(std::unique_ptr<Transport>)>& body);

}  // namespace banyan::comm
