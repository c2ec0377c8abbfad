#include "perf/peer_mpi.hpp"

#include <mpi.h>

#include <array>
#include <cstring>

#include "src/base/error.hpp"
#include "src/base/section.hpp"

namespace banyan::perf {
namespace {

constexpr Seconds kMeeting{300};  // another rank may be running a measurement of its own

void check(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  throw CommError("{}: {}", call, text.data());
}

void exchange(MPI_Comm world, Case& c) {
  if (!c.speaks()) return;
  const int other = c.rank() == 0 ? c.peer() : 0, n = static_cast<int>(c.data().size());
  if (c.rank() == 0) {
    check(MPI_Send(c.data().data(), n, MPI_FLOAT, other, 1, world), "MPI_Send");
    check(MPI_Recv(c.room().data(), n, MPI_FLOAT, other, 1, world, MPI_STATUS_IGNORE), "MPI_Recv");
  } else {
    check(MPI_Recv(c.room().data(), n, MPI_FLOAT, other, 1, world, MPI_STATUS_IGNORE), "MPI_Recv");
    check(MPI_Send(c.data().data(), n, MPI_FLOAT, other, 1, world), "MPI_Send");
  }
}

void stream(MPI_Comm world, Case& c) {
  if (!c.speaks()) return;
  const int n = static_cast<int>(c.data().size());
  std::vector<MPI_Request> requests(static_cast<std::size_t>(c.window()));
  char answer = 0;
  for (MPI_Request& r : requests)
    check(c.rank() == 0 ? MPI_Isend(c.data().data(), n, MPI_FLOAT, c.peer(), 1, world, &r)
                        : MPI_Irecv(c.room().data(), n, MPI_FLOAT, 0, 1, world, &r),
          "MPI_Isend or MPI_Irecv");
  check(MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE), "MPI_Waitall");
  if (c.rank() == 0)
    check(MPI_Recv(&answer, 1, MPI_CHAR, c.peer(), 2, world, MPI_STATUS_IGNORE), "MPI_Recv");
  else
    check(MPI_Send(&answer, 1, MPI_CHAR, 0, 2, world), "MPI_Send");
}

}  // namespace

struct MpiPeer::State {
  MPI_Comm world = MPI_COMM_NULL;
  MPI_Win shared = MPI_WIN_NULL;
};

MpiPeer::MpiPeer() : state_(std::make_unique<State>()) {
  check(MPI_Comm_dup(MPI_COMM_WORLD, &state_->world), "MPI_Comm_dup");
}

MpiPeer::~MpiPeer() {
  if (state_->shared != MPI_WIN_NULL) MPI_Win_free(&state_->shared);
  MPI_Comm_free(&state_->world);
}

std::vector<std::byte*> MpiPeer::share(std::size_t bytes) {
  void* own = nullptr;
  check(MPI_Win_allocate_shared(static_cast<MPI_Aint>(bytes), 1, MPI_INFO_NULL, state_->world, &own, &state_->shared),
        "MPI_Win_allocate_shared");
  std::memset(own, 0, bytes);
  int ranks = 0;
  MPI_Comm_size(state_->world, &ranks);
  std::vector<std::byte*> parts;
  for (int r = 0; r < ranks; ++r) {
    MPI_Aint size = 0;
    int unit = 0;
    void* part = nullptr;
    check(MPI_Win_shared_query(state_->shared, r, &size, &unit, &part), "MPI_Win_shared_query");
    parts.push_back(static_cast<std::byte*>(part));
  }
  barrier();
  return parts;
}

std::string MpiPeer::version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string all = text.data();
  return all.substr(0, all.find_first_of(",\n"));
}

std::vector<std::string> MpiPeer::variants(Traffic traffic) {
  if (traffic == Traffic::kReduceScatter) return {"mpi", "mpi block"};
  return {"mpi"};
}

void MpiPeer::barrier() { check(MPI_Barrier(state_->world), "MPI_Barrier"); }

void MpiPeer::meet(const std::function<void()>& meanwhile) {
  MPI_Request request = MPI_REQUEST_NULL;
  check(MPI_Ibarrier(state_->world, &request), "MPI_Ibarrier");
  const Section section("all ranks to meet between two measurements", kMeeting);
  Backoff backoff;
  for (int done = 0;;) {
    check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
    if (done) return;
    meanwhile();
    section.check();
    backoff.pause();
  }
}

void MpiPeer::call(const std::string& variant, Case& c) {
  MPI_Comm world = state_->world;
  float* const data = c.data().data();
  const int n = static_cast<int>(c.data().size()), part = static_cast<int>(c.part());
  switch (c.traffic()) {
    case Traffic::kLatency:
      return exchange(world, c);
    case Traffic::kBandwidth:
      return stream(world, c);
    case Traffic::kBarrier:
      return barrier();
    case Traffic::kBroadcast:
      return check(MPI_Bcast(data, n, MPI_FLOAT, 0, world), "MPI_Bcast");
    case Traffic::kAllReduce:
      return check(MPI_Allreduce(MPI_IN_PLACE, data, n, MPI_FLOAT, MPI_SUM, world), "MPI_Allreduce");
    case Traffic::kReduceScatter: {
      float* const room = c.room().data();
      if (variant == "mpi block")
        return check(MPI_Reduce_scatter_block(data, room, part, MPI_FLOAT, MPI_SUM, world), "MPI_Reduce_scatter_block");
      const std::vector<int> parts(static_cast<std::size_t>(c.ranks()), part);
      return check(MPI_Reduce_scatter(data, room, parts.data(), MPI_FLOAT, MPI_SUM, world), "MPI_Reduce_scatter");
    }
    case Traffic::kAllGather:
      return check(MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, part, MPI_FLOAT, world), "MPI_Allgather");
    case Traffic::kAllToAll:
      return check(MPI_Alltoall(data, part, MPI_FLOAT, c.room().data(), part, MPI_FLOAT, world), "MPI_Alltoall");
  }
}

}  // namespace banyan::perf
