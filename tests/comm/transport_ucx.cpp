// The transport cases over UCX: mpirun -n N transport_ucx [CASE...].
#include <mpi.h>

#include <string>
#include <vector>

#include "comm/ucx/ucx_transport.hpp"
#include "src/base/section.hpp"
#include "tests/comm/transport_ranks.hpp"

namespace banyan::comm {
namespace {

std::unique_ptr<Transport> make_all() {
  int rank = 0, size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  auto transport = std::make_unique<UcxTransport>(rank, size, UcxOptions{.rendezvous = 0, .keepalive = Seconds{0.5}});
  int mine = static_cast<int>(transport->address().size()), longest = 0;
  MPI_Allreduce(&mine, &longest, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  std::string own = transport->address();
  own.resize(static_cast<std::size_t>(longest));
  std::string all(static_cast<std::size_t>(longest * size), '\0');
  MPI_Allgather(own.data(), longest, MPI_BYTE, all.data(), longest, MPI_BYTE, MPI_COMM_WORLD);
  std::vector<std::string> addresses;
  for (int r = 0; r < size; ++r)
    addresses.push_back(all.substr(static_cast<std::size_t>(r * longest), static_cast<std::size_t>(longest)));
  transport->connect(std::move(addresses));
  return transport;
}

void close_all(Transport& transport) {
  static_cast<UcxTransport&>(transport).close([](const std::function<void()>& meanwhile) {
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Ibarrier(MPI_COMM_WORLD, &request);
    Backoff backoff;
    for (int done = 0; MPI_Test(&request, &done, MPI_STATUS_IGNORE), !done; backoff.pause()) meanwhile();
  });
}

}  // namespace
}  // namespace banyan::comm

int main(int argc, char** argv) {
  using namespace banyan::comm;
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided);
  const int code = run_transport_cases(
      TransportMaker{.make = make_all, .close = close_all, .closes_what_gave_up = true}, argc, argv);
  MPI_Finalize();
  return code;
}
