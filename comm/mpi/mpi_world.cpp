#include <mpi.h>

#include <algorithm>
#include <array>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/mpi/mpi_transport.hpp"
#include "comm/world_base.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

constexpr Seconds kShortestMeeting{60};  // before finalizing; ranks may end at different times

class MpiWorld final : public WorldBase {
 public:
  MpiWorld(std::unique_ptr<MpiTransport> transport, MpiTransport& same, std::vector<Place> places)
      : WorldBase(std::move(transport), std::move(places)), transport_(same), exceptions_(std::uncaught_exceptions()) {}

  ~MpiWorld() override {
    // MPI_Finalize waits for every rank, for ever: only go there together.
    if (std::uncaught_exceptions() > exceptions_ || !healthy()) return;
    const Seconds patience = std::max({kShortestMeeting, options().peer_timeout, PatienceScope::current()});
    if (!last_barrier(patience)) return;
    try {
      transport_.close();
      MPI_Finalize();
    } catch (const std::exception&) {
      // Nothing is left that could be lost.
    }
  }

  // Reads what the constructor needs from all ranks; blocking calls are fine before anything is under way.
  static std::vector<Place> gather_places(int size) {
    using HostName = std::array<char, MPI_MAX_PROCESSOR_NAME>;
    HostName mine{};
    int length = 0;
    check_mpi(MPI_Get_processor_name(mine.data(), &length), "MPI_Get_processor_name");
    std::vector<HostName> hosts(static_cast<std::size_t>(size));
    check_mpi(MPI_Allgather(mine.data(), sizeof(HostName), MPI_BYTE, hosts.data(), sizeof(HostName), MPI_BYTE,
                            MPI_COMM_WORLD),
              "MPI_Allgather");

    // A node is what shares memory; its first rank stands for it.
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm shared = MPI_COMM_NULL;
    check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &shared),
              "MPI_Comm_split_type");
    int leader = rank;
    check_mpi(MPI_Bcast(&leader, 1, MPI_INT, 0, shared), "MPI_Bcast");
    MPI_Comm_free(&shared);
    std::vector<int> leaders(static_cast<std::size_t>(size));
    check_mpi(MPI_Allgather(&leader, 1, MPI_INT, leaders.data(), 1, MPI_INT, MPI_COMM_WORLD), "MPI_Allgather");
    std::vector<int> nodes = leaders;
    std::sort(nodes.begin(), nodes.end());
    nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());

    std::vector<Place> places;
    for (std::size_t r = 0; r < hosts.size(); ++r) {
      const auto node = std::lower_bound(nodes.begin(), nodes.end(), leaders[r]) - nodes.begin();
      places.push_back({std::string(hosts[r].data()), static_cast<int>(node)});
    }
    return places;
  }

 private:
  MpiTransport& transport_;  // the base's
  const int exceptions_;
};

}  // namespace

std::unique_ptr<World> make_mpi_world() {
  int initialized = 0;
  MPI_Initialized(&initialized);
  if (initialized) throw BugError("make_mpi_world was called twice in one process");
  int provided = 0;
  check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
  if (provided < MPI_THREAD_SERIALIZED)
    throw CommError(
        "this MPI library gives no MPI_THREAD_SERIALIZED; use one that does, for example Debian's Open MPI");
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  auto transport = std::make_unique<MpiTransport>(MPI_COMM_WORLD);
  MpiTransport& same = *transport;
  auto places = MpiWorld::gather_places(same.size());
  return std::make_unique<MpiWorld>(std::move(transport), same, std::move(places));
}

}  // namespace banyan::comm
