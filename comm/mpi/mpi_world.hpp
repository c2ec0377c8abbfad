// make_mpi_world of communicator.hpp with something between the ranks and their messages: faults, for tests.
#pragma once

#include <memory>

#include "comm/communicator.hpp"
#include "comm/transport.hpp"

namespace banyan::comm {

std::unique_ptr<World> make_mpi_world_wrapped(const TransportWrap& wrap);

}  // namespace banyan::comm
