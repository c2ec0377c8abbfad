// The transport cases over MPI: mpirun -n N transport_mpi [CASE...].  BANYAN_TEST_MPI_WAITING=blocks has waits block in
// MPI, as under a simulator.
#include <mpi.h>

#include <cstdlib>

#include "comm/mpi/mpi_transport.hpp"
#include "tests/comm/transport_ranks.hpp"

int main(int argc, char** argv) {
  using namespace banyan::comm;
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided);
  const TransportMaker maker{
      .make =
          [] {
            const bool blocks = std::getenv("BANYAN_TEST_MPI_WAITING") != nullptr;
            return std::make_unique<MpiTransport>(MPI_COMM_WORLD, blocks ? MpiWaiting::kBlocks : MpiWaiting::kLooks);
          },
      .close = [](Transport& t) { static_cast<MpiTransport&>(t).close(); },
      // Open MPI 4.1.4: what a process of the same node sends by single copy (4 KiB and more) is written whole,
      // whatever the receive says, before the receive fails; what one sends to oneself is cut off and called a success.
      .stops_long_messages = false,
  };
  const int code = run_transport_cases(maker, argc, argv);
  MPI_Finalize();
  return code;
}
