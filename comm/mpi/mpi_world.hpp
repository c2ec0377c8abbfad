// make_mpi_world of communicator.hpp for those who need it differently: with something between the ranks and their
// messages (faults, for tests), or with ranks that are played.
#pragma once

#include <memory>

#include "comm/communicator.hpp"
#include "comm/transport.hpp"

namespace banyan::comm {

std::unique_ptr<World> make_mpi_world_wrapped(const TransportWrap& wrap);

/// The World of ranks that SimGrid's SMPI plays, one at a time in one process: waits block in MPI, since nothing else
/// makes time pass; there is no lifeline, and no threads.
std::unique_ptr<World> make_simulated_world(const TransportWrap& wrap);

}  // namespace banyan::comm
