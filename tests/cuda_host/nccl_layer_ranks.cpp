// nccl_layer_ranks [CASE...]: what the layer's NCCL computes, and what it notices.  A program of 1, 2 or 4 ranks.
#include <mpi.h>
#include <nccl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/cuda_host/emulation.hpp"

namespace {

int g_rank, g_size;
const char* g_case = "";

void check(bool good, const std::string& what) {
  if (good) return;
  std::fprintf(stderr, "%s, rank %d of %d: %s\nreports: %s\n", g_case, g_rank, g_size, what.c_str(),
               emu::reports().c_str());
  std::fflush(stderr);
  MPI_Abort(MPI_COMM_WORLD, 1);
}
void must(cudaError_t e, const char* what) {
  check(e == cudaSuccess, std::string(what) + ": " + cudaGetErrorString(e));
}
void must(ncclResult_t r, const char* what) {
  check(r == ncclSuccess, std::string(what) + ": " + ncclGetLastError({}));
}
#define MUST(call) must(call, #call)

cudaStream_t stream() {
  static const cudaStream_t s = [] {
    cudaStream_t made;
    MUST(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking));
    return made;
  }();
  return s;
}

/// An array of the device.
template <class T>
struct Array {
  explicit Array(std::vector<T> values) : count(values.size()) {
    MUST(cudaMalloc(reinterpret_cast<void**>(&data), count * sizeof(T)));
    MUST(cudaMemcpyAsync(data, values.data(), count * sizeof(T), cudaMemcpyHostToDevice, stream()));
  }
  Array(std::size_t n, double first) : Array(ramp(n, first)) {}
  ~Array() { cudaFree(data); }
  static std::vector<T> ramp(std::size_t n, double first) {
    std::vector<T> v(n);
    for (std::size_t i = 0; i < n; ++i) v[i] = static_cast<T>(static_cast<float>(first + static_cast<double>(i)));
    return v;
  }
  std::vector<T> get() const {
    std::vector<T> v(count);
    MUST(cudaMemcpyAsync(v.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost, stream()));
    MUST(cudaStreamSynchronize(stream()));
    return v;
  }
  T* data = nullptr;
  std::size_t count;
};

struct Members {
  Members() = default;
  explicit Members(bool blocking, int first = 0, int count = g_size) {
    ncclUniqueId id{};
    if (g_rank == first) MUST(ncclGetUniqueId(&id));
    MPI_Bcast(&id, sizeof id, MPI_BYTE, first, MPI_COMM_WORLD);
    if (g_rank < first || g_rank >= first + count) return;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = blocking;
    const ncclResult_t r = ncclCommInitRankConfig(&comm, count, id, g_rank - first, &config);
    check(r == (blocking ? ncclSuccess : ncclInProgress), "init");
  }
  ~Members() {
    if (comm) ncclCommDestroy(comm);
  }
  ncclResult_t state() const {
    ncclResult_t r;
    MUST(ncclCommGetAsyncError(comm, &r));
    return r;
  }
  void settle() const {
    while (state() == ncclInProgress) usleep(100);
  }
  /// What the others see at once.
  void abort() { MUST(ncclCommAbort(std::exchange(comm, nullptr))); }
  /// The same when all have come here; answers those that still want to know who is there.
  void abort_together() {
    MPI_Request all_here;
    MPI_Ibarrier(MPI_COMM_WORLD, &all_here);
    for (int here = 0; !here; MPI_Test(&all_here, &here, MPI_STATUS_IGNORE))
      if (comm) state();
    if (comm) abort();
  }
  ncclComm_t comm = nullptr;
};

bool says(const std::string& words) { return emu::reports().find(words) != std::string::npos; }
template <class T>
std::vector<float> floats(const std::vector<T>& v) {
  std::vector<float> f;
  for (const T& x : v) f.push_back(static_cast<float>(x));
  return f;
}

// ---- what it computes

template <class T>
void reduces(ncclDataType_t type) {
  const Members all(true);
  const auto n = static_cast<std::size_t>(g_size);
  Array<T> sum(5, g_rank), most(5, g_rank);
  MUST(ncclAllReduce(sum.data, sum.data, 5, type, ncclSum, all.comm, stream()));
  MUST(ncclAllReduce(most.data, most.data, 5, type, ncclMax, all.comm, stream()));
  Array<T> parts(3 * n, g_rank), mine(3, 0);
  MUST(ncclReduceScatter(parts.data, mine.data, 3, type, ncclSum, all.comm, stream()));
  const int ranks = g_size * (g_size - 1) / 2;
  for (std::size_t i = 0; i < 5; ++i) {
    check(floats(sum.get())[i] == static_cast<float>(ranks + g_size * static_cast<int>(i)), "a sum");
    check(floats(most.get())[i] == static_cast<float>(g_size - 1 + static_cast<int>(i)), "a maximum");
  }
  for (std::size_t i = 0; i < 3; ++i)
    check(floats(mine.get())[i] == static_cast<float>(ranks + g_size * (3 * g_rank + static_cast<int>(i))), "a part");
}

void moves() {
  const Members all(true);
  const auto n = static_cast<std::size_t>(g_size);
  Array<float> gathered(2 * n, -1), given(2, 10 * g_rank), told(3, 100 + g_rank);
  MUST(ncclAllGather(given.data, gathered.data, 2, ncclFloat32, all.comm, stream()));
  MUST(ncclBroadcast(told.data, told.data, 3, ncclFloat32, g_size - 1, all.comm, stream()));
  for (std::size_t r = 0; r < n; ++r) check(gathered.get()[2 * r] == static_cast<float>(10 * r), "a gathered value");
  check(told.get()[0] == static_cast<float>(100 + g_size - 1), "a broadcast value");
  // To the next and from the one before, in one group; also to oneself.
  Array<std::int32_t> out(4, g_rank), in(4, -7);
  const int next = (g_rank + 1) % g_size, before = (g_rank + g_size - 1) % g_size;
  MUST(ncclGroupStart());
  MUST(ncclSend(out.data, 4, ncclInt32, next, all.comm, stream()));
  MUST(ncclRecv(in.data, 4, ncclInt32, before, all.comm, stream()));
  MUST(ncclGroupEnd());
  check(in.get()[3] == before + 3, "a message");
}

/// Reduces to each root in one group, as parts of unequal lengths need.
void groups_of_collectives() {
  const Members all(true);
  std::vector<std::unique_ptr<Array<float>>> parts;
  MUST(ncclGroupStart());
  for (int r = 0; r < g_size; ++r) {
    parts.push_back(std::make_unique<Array<float>>(static_cast<std::size_t>(r + 1), g_rank));
    MUST(ncclReduce(parts.back()->data, parts.back()->data, static_cast<std::size_t>(r + 1), ncclFloat32, ncclSum, r,
                    all.comm, stream()));
  }
  MUST(ncclGroupEnd());
  check(parts[static_cast<std::size_t>(g_rank)]->get()[0] == static_cast<float>(g_size * (g_size - 1) / 2),
        "a root's sum");
}

void does_not_block() {
  Members all(false);
  all.settle();
  Array<float> x(2, g_rank);
  check(ncclAllReduce(x.data, x.data, 2, ncclFloat32, ncclSum, all.comm, stream()) == ncclInProgress, "a call blocks");
  // Nothing is in the stream yet: who reads now reads what was there before.
  check(x.get()[0] == static_cast<float>(g_rank), "the call is in the stream before anybody asked");
  all.settle();
  check(x.get()[0] == static_cast<float>(g_size * (g_size - 1) / 2), "a sum");
  check(ncclCommFinalize(all.comm) == ncclInProgress, "finalize blocks");
  all.settle();
  check(emu::reports().empty(), "complaints");
}

/// Two communicators whose operations stand in the streams in another order on each rank.
void streams_advance_together() {
  const Members a(true), b(true);
  cudaStream_t other;
  MUST(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
  Array<float> x(2, g_rank), y(2, g_rank);
  x.get();
  MUST(ncclAllReduce(x.data, x.data, 2, ncclFloat32, ncclSum, a.comm, stream()));
  MUST(ncclAllReduce(y.data, y.data, 2, ncclFloat32, ncclSum, b.comm, other));
  MUST(cudaStreamSynchronize(g_rank % 2 ? other : stream()));
  MUST(cudaStreamSynchronize(other));
  check(y.get()[0] == x.get()[0], "sums");
  MUST(cudaStreamDestroy(other));
}

// ---- what it notices

void a_mismatch() {
  Members all(true);
  Array<float> x(8, 0);
  x.get();
  if (g_rank == 0) MUST(ncclAllReduce(x.data, x.data, 8, ncclFloat32, ncclSum, all.comm, stream()));
  if (g_rank != 0)
    MUST(ncclAllGather(x.data, x.data, 8 / static_cast<std::size_t>(g_size), ncclFloat32, all.comm, stream()));
  cudaStreamSynchronize(stream());
  if (g_rank == 0) check(says("ncclAllReduce of 8"), "a mismatch goes unnoticed");
  all.abort_together();
}

void another_length() {
  Members all(true);
  Array<float> x(8, 0);
  x.get();
  const std::size_t n = g_rank == 0 ? 8 : 4;
  if (g_rank == 0) MUST(ncclSend(x.data, n, ncclFloat32, 1, all.comm, stream()));
  if (g_rank == 1) {
    MUST(ncclRecv(x.data, n, ncclFloat32, 0, all.comm, stream()));
    cudaEvent_t event;
    MUST(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    MUST(cudaEventRecord(event, stream()));
    check(cudaEventQuery(event) == cudaErrorNotReady, "the receive has ended");
  }
  if (g_rank == 0) {
    cudaStreamSynchronize(stream());
    check(says("ncclRecv of 4"), "another length goes unnoticed");
  }
  all.abort_together();
}

void sends_to_each_other() {
  Members all(true, 0, 2);
  if (!all.comm) return all.abort_together();
  Array<float> x(2, 0);
  x.get();
  MUST(ncclSend(x.data, 2, ncclFloat32, 1 - g_rank, all.comm, stream()));
  MUST(ncclRecv(x.data, 2, ncclFloat32, 1 - g_rank, all.comm, stream()));
  cudaStreamSynchronize(stream());
  check(says("outside of a group"), "a deadlock goes unnoticed");
  all.abort_together();
}

void a_rank_leaves() {
  Members all(false);
  all.settle();
  Array<float> x(2, 0);
  x.get();
  MPI_Barrier(MPI_COMM_WORLD);
  if (g_rank == g_size - 1) return all.abort();
  check(ncclAllReduce(x.data, x.data, 2, ncclFloat32, ncclSum, all.comm, stream()) != ncclSuccess, "a call blocks");
  ncclResult_t state;
  while ((state = all.state()) == ncclInProgress || state == ncclSuccess) usleep(100);
  check(state == ncclRemoteError, "what is noticed when a rank left");
  check(std::string(ncclGetLastError(all.comm)).find("was closed") != std::string::npos, "why");
  all.abort();
  MUST(cudaStreamSynchronize(stream()));  // what hung has ended
}

void no_device_memory() {
  Members all(true);
  float x[2] = {};
  check(ncclAllReduce(x, x, 2, ncclFloat32, ncclSum, all.comm, stream()) == ncclInvalidArgument,
        "host memory is taken");
  check(says("memory that is not"), "no word of host memory");
  all.abort_together();
}

void beyond_the_end() {
  Members all(true);
  Array<float> x(2, 0);
  check(ncclAllGather(x.data, x.data, 4, ncclFloat32, all.comm, stream()) == ncclInvalidArgument,
        "an overrun is taken");
  all.abort_together();
}

void after_the_end() {
  Members all(true);
  Array<float> x(2, 0);
  const ncclComm_t gone = all.comm;
  all.abort_together();
  check(ncclAllReduce(x.data, x.data, 2, ncclFloat32, ncclSum, gone, stream()) == ncclInvalidArgument,
        "use after abort");
  check(says("aborted or destroyed"), "no word of use after abort");
}

void too_early() {
  Members all(false);
  all.settle();
  Array<float> x(2, 0);
  ncclAllReduce(x.data, x.data, 2, ncclFloat32, ncclSum, all.comm, stream());
  check(ncclAllReduce(x.data, x.data, 2, ncclFloat32, ncclSum, all.comm, stream()) == ncclInvalidUsage,
        "a second call");
  check(says("still at work"), "no word of a communicator at work");
  all.abort_together();
}

void one_device_for_two() {
  MUST(cudaSetDevice(0));
  Members all(false);
  all.settle();
  if (all.state() != ncclSuccess)
    check(std::string(ncclGetLastError(all.comm)).find("duplicate GPU") != std::string::npos, "why");
  else
    check(false, "two ranks share a GPU");
  all.abort_together();
}

void another_size() {
  ncclUniqueId id{};
  if (g_rank == 0) MUST(ncclGetUniqueId(&id));
  MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  Members none;
  ncclCommInitRankConfig(&none.comm, g_rank == 0 ? g_size : g_size + 1, id, g_rank, &config);
  if (g_rank == 0) {
    none.settle();
    check(none.state() == ncclInvalidUsage || none.state() == ncclRemoteError, "members count differently");
  }
  none.abort_together();
}

struct Case {
  int least;  ///< ranks
  std::function<void()> run;
};
const std::map<std::string, Case> kCases{
    {"reduces_fp32", {1, [] { reduces<float>(ncclFloat32); }}},
    {"reduces_bf16", {1, [] { reduces<__nv_bfloat16>(ncclBfloat16); }}},
    {"reduces_int64", {1, [] { reduces<std::int64_t>(ncclInt64); }}},
    {"moves", {1, moves}},
    {"groups_of_collectives", {1, groups_of_collectives}},
    {"does_not_block", {1, does_not_block}},
    {"streams_advance_together", {1, streams_advance_together}},
    {"a_mismatch", {2, a_mismatch}},
    {"another_length", {2, another_length}},
    {"sends_to_each_other", {2, sends_to_each_other}},
    {"a_rank_leaves", {2, a_rank_leaves}},
    {"no_device_memory", {1, no_device_memory}},
    {"beyond_the_end", {1, beyond_the_end}},
    {"after_the_end", {1, after_the_end}},
    {"too_early", {1, too_early}},
    {"one_device_for_two", {2, one_device_for_two}},
    {"another_size", {2, another_size}},
};

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &g_rank);
  MPI_Comm_size(MPI_COMM_WORLD, &g_size);
  ::alarm(50);
  for (const auto& [name, c] : kCases) {
    if (argc > 1 && std::string(argv[1]) != name && std::string(argv[1]) != "-v") continue;
    if (g_size < c.least) continue;
    g_case = name.c_str();
    if (argc > 1 && g_rank == 0) std::fprintf(stderr, "%s\n", g_case);
    MUST(cudaSetDevice(g_rank));
    stream();
    c.run();
    emu::reset();
    MPI_Barrier(MPI_COMM_WORLD);
  }
  MPI_Finalize();
}
