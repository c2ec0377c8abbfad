// The part of NCCL that comm/nccl uses, under its own names and with the prototypes of its own header: operations run
// on the emulated streams and meet those of other processes over sockets (nccl_wire).  Sums are added in the order of
// ranks.
//
// As strict as NCCL may be: a communicator that does not block puts nothing into a stream before it was asked how it
// is; members of one communicator have GPUs of their own; a send ends when its receive has begun.
#include <nccl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/cuda_host/emulation.hpp"
#include "tests/cuda_host/nccl_operation.hpp"
#include "tests/cuda_host/streams.hpp"

using namespace emu;

/// What a handle points to.
struct ncclComm {
  std::shared_ptr<NcclState> state = std::make_shared<NcclState>();
  std::vector<std::shared_ptr<NcclOperation>> deferred;  ///< not in a stream yet
  std::vector<cudaStream_t> deferred_streams;
  Mark last;  ///< the operation issued last: one communicator's run in that order, whatever their streams
  bool finalizing = false, said_bye = false;
};

namespace emu {
namespace {

struct Nccl {
  std::set<ncclComm*> live;
  int depth = 0;
  std::vector<std::pair<ncclComm*, NcclCall>> group;
  std::string last_error;
};
Nccl& nccl() {
  static auto& n = *new Nccl;
  return n;
}

ncclResult_t refuse(ncclResult_t code, const std::string& what) {
  nccl().last_error = what;
  report("NCCL: " + what);
  return code;
}

bool alive(ncclComm* c) { return nccl().live.count(c) != 0; }

void issue(ncclComm* c, const std::shared_ptr<NcclOperation>& operation, cudaStream_t stream) {
  push_polled(
      stream, [operation] { return operation->step(); }, c->last);
  c->last = end_of(stream);
}

/// Where the communicator stands, after looking what has come.
ncclResult_t look(ncclComm* c) {
  NcclState& s = *c->state;
  s.wire->progress();
  if (!s.wire->failure().empty() && !c->finalizing)
    s.fail(s.wire->connected() ? ncclRemoteError : ncclInvalidUsage, s.wire->failure());
  if (s.error != ncclSuccess) return s.error;
  if (!s.wire->connected()) return ncclInProgress;
  for (std::size_t i = 0; i < c->deferred.size(); ++i) issue(c, c->deferred[i], c->deferred_streams[i]);
  c->deferred.clear();
  c->deferred_streams.clear();
  if (!c->finalizing) return ncclSuccess;
  if (s.unfinished > 0) {
    run_enabled();
    if (s.unfinished > 0) return ncclInProgress;
  }
  if (!std::exchange(c->said_bye, true))
    for (int r = 0; r < s.size; ++r)
      if (r != s.rank) s.wire->send(r, {.kind = Frame::kBye, .terms = {}});
  return s.wire->flushed() && s.wire->all_said_bye() ? ncclSuccess : ncclInProgress;
}

ncclResult_t until_done(ncclComm* c) {
  ncclResult_t r;
  while ((r = look(c)) == ncclInProgress) usleep(100);
  return r;
}

/// Whether calls may be given to it.
ncclResult_t check(ncclComm* c) {
  if (!alive(c)) return refuse(ncclInvalidArgument, "a communicator that does not exist, or was aborted or destroyed");
  if (c->finalizing) return refuse(ncclInvalidUsage, "a call for a communicator that was finalized");
  if (c->state->error != ncclSuccess) return c->state->error;
  if (!c->state->blocking && (!c->state->wire->connected() || !c->deferred.empty()))
    return refuse(ncclInvalidUsage,
                  "a call for a communicator that is still at work: ask ncclCommGetAsyncError until it is done");
  return ncclSuccess;
}

bool reachable(const void* p, std::size_t bytes) { return bytes == 0 || device_range(p, bytes); }

/// Gives the calls of a group, or one call, to the communicator.
ncclResult_t give(ncclComm* c, std::vector<NcclCall> calls, bool grouped) {
  const cudaStream_t stream = calls.front().stream;
  for (const NcclCall& call : calls)
    if (call.stream != stream) return refuse(ncclInvalidUsage, "a group in several streams is not emulated");
  const auto operation = std::make_shared<NcclOperation>(c->state, std::move(calls), grouped);
  if (c->state->blocking) {
    issue(c, operation, stream);
    return ncclSuccess;
  }
  c->deferred.push_back(operation);
  c->deferred_streams.push_back(stream);
  return ncclInProgress;
}

ncclResult_t call(ncclComm* c, NcclCall call, std::size_t in, std::size_t out) {
  if (const ncclResult_t r = check(c); r != ncclSuccess) return r;
  const std::size_t width = nccl_width(call.terms.type);
  const std::string name = nccl_text(call.terms);
  if (width == 0) return refuse(ncclInvalidArgument, name + ": the type is not emulated");
  if (call.terms.op != ncclSum && call.terms.op != ncclMax && call.terms.op != ncclMin)
    return refuse(ncclInvalidArgument, name + ": the operation is not emulated");
  if (!reachable(call.in, in * width) || !reachable(call.out, out * width))
    return refuse(ncclInvalidArgument, name + ": memory that is not, or not all, the device's");
  if (call.terms.root < 0 || call.terms.root >= c->state->size || call.peer >= c->state->size)
    return refuse(ncclInvalidArgument, name + ": no such rank");
  if (device_of(call.stream) != c->state->device)
    return refuse(ncclInvalidUsage, name + ": the stream is of another device than the communicator");
  if (nccl().depth > 0) {
    nccl().group.emplace_back(c, std::move(call));
    return ncclSuccess;
  }
  std::vector<NcclCall> one;
  one.push_back(std::move(call));
  return give(c, std::move(one), false);
}

NcclTerms terms(NcclKind kind, std::size_t count, ncclDataType_t type, ncclRedOp_t op = ncclSum, int root = 0) {
  return {kind, type, op, root, count};
}

const char* bytes(const void* p) { return static_cast<const char*>(p); }
char* bytes(void* p) { return static_cast<char*>(p); }

void drop(ncclComm* c) {
  nccl().live.erase(c);
  delete c;
}

}  // namespace
}  // namespace emu

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  const char* other = std::getenv("CUDAEMU_NCCL_VERSION");
  *version = other ? std::atoi(other) : NCCL_VERSION_CODE;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t r) {
  constexpr const char* kWords[] = {"no error",         "unhandled CUDA error", "system error", "internal error",
                                    "invalid argument", "invalid usage",        "remote error", "in progress"};
  return r >= 0 && r < ncclNumResults ? kWords[r] : "unknown result code";
}

const char* ncclGetLastError(ncclComm_t c) {
  return c && alive(c) && !c->state->last_error.empty() ? c->state->last_error.c_str() : nccl().last_error.c_str();
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  unsigned char noise[16] = {};
  std::ifstream("/dev/urandom", std::ios::binary).read(reinterpret_cast<char*>(noise), sizeof noise);
  *id = {};
  for (std::size_t i = 0; i < sizeof noise; ++i) {
    id->internal[2 * i] = "0123456789abcdef"[noise[i] >> 4];
    id->internal[2 * i + 1] = "0123456789abcdef"[noise[i] & 15];
  }
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* out, int size, ncclUniqueId id, int rank, ncclConfig_t* config) {
  if (!out || size < 1 || rank < 0 || rank >= size)
    return refuse(ncclInvalidArgument, "rank " + std::to_string(rank) + " of " + std::to_string(size));
  if (config && (config->magic != 0xcafebeef || config->size != sizeof *config))
    return refuse(ncclInvalidArgument, "a configuration without NCCL_CONFIG_INITIALIZER");
  auto* c = new ncclComm;
  NcclState& s = *c->state;
  s.name.assign(id.internal, strnlen(id.internal, sizeof id.internal));
  s.rank = rank;
  s.size = size;
  s.device = current_device();
  s.blocking = !config || config->blocking != 0;
  s.wire = std::make_unique<Wire>(s.name, rank, size, s.device);
  nccl().live.insert(c);
  *out = c;
  return s.blocking ? until_done(c) : ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t* error) {
  if (!alive(c)) return refuse(ncclInvalidArgument, "ncclCommGetAsyncError of no communicator");
  *error = look(c);
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t c) {
  if (const ncclResult_t r = check(c); r != ncclSuccess) return r;
  c->finalizing = true;
  return c->state->blocking ? until_done(c) : ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t c) {
  if (!alive(c)) return refuse(ncclInvalidArgument, "ncclCommDestroy of no communicator");
  c->finalizing = true;
  const ncclResult_t r = until_done(c);
  drop(c);
  return r;
}

ncclResult_t ncclCommAbort(ncclComm_t c) {
  if (!alive(c)) return refuse(ncclInvalidArgument, "ncclCommAbort of no communicator");
  c->state->aborted = true;
  c->state->wire = std::make_unique<Wire>(c->state->name, 0, 1, 0);  // the others see the connections closed
  drop(c);
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  ++nccl().depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (nccl().depth == 0) return refuse(ncclInvalidUsage, "ncclGroupEnd without ncclGroupStart");
  if (--nccl().depth > 0) return ncclSuccess;
  const auto all = std::exchange(nccl().group, {});
  ncclResult_t result = ncclSuccess;
  std::set<ncclComm*> done;
  for (const auto& [c, first] : all) {
    if (!done.insert(c).second) continue;
    std::vector<NcclCall> calls;
    for (const auto& [owner, one] : all)
      if (owner == c) calls.push_back(one);
    if (const ncclResult_t r = give(c, std::move(calls), true); r != ncclSuccess) result = r;
  }
  return result;
}

ncclResult_t ncclSend(const void* in, size_t n, ncclDataType_t t, int peer, ncclComm_t c, cudaStream_t s) {
  if (peer < 0) return refuse(ncclInvalidArgument, "ncclSend to rank " + std::to_string(peer));
  return call(c, {terms(NcclKind::kSend, n, t), bytes(in), nullptr, peer, s}, n, 0);
}
ncclResult_t ncclRecv(void* out, size_t n, ncclDataType_t t, int peer, ncclComm_t c, cudaStream_t s) {
  if (peer < 0) return refuse(ncclInvalidArgument, "ncclRecv from rank " + std::to_string(peer));
  return call(c, {terms(NcclKind::kReceive, n, t), nullptr, bytes(out), peer, s}, 0, n);
}
ncclResult_t ncclAllReduce(const void* in, void* out, size_t n, ncclDataType_t t, ncclRedOp_t op, ncclComm_t c,
                           cudaStream_t s) {
  return call(c, {terms(NcclKind::kAllReduce, n, t, op), bytes(in), bytes(out), -1, s}, n, n);
}
ncclResult_t ncclReduce(const void* in, void* out, size_t n, ncclDataType_t t, ncclRedOp_t op, int root, ncclComm_t c,
                        cudaStream_t s) {
  const bool here = alive(c) && c->state->rank == root;
  return call(c, {terms(NcclKind::kReduce, n, t, op, root), bytes(in), bytes(out), -1, s}, n, here ? n : 0);
}
ncclResult_t ncclBroadcast(const void* in, void* out, size_t n, ncclDataType_t t, int root, ncclComm_t c,
                           cudaStream_t s) {
  const bool here = alive(c) && c->state->rank == root;
  return call(c, {terms(NcclKind::kBroadcast, n, t, ncclSum, root), here ? bytes(in) : nullptr, bytes(out), -1, s},
              here ? n : 0, n);
}
ncclResult_t ncclReduceScatter(const void* in, void* out, size_t n, ncclDataType_t t, ncclRedOp_t op, ncclComm_t c,
                               cudaStream_t s) {
  const std::size_t all = alive(c) ? n * static_cast<std::size_t>(c->state->size) : 0;
  return call(c, {terms(NcclKind::kReduceScatter, n, t, op), bytes(in), bytes(out), -1, s}, all, n);
}
ncclResult_t ncclAllGather(const void* in, void* out, size_t n, ncclDataType_t t, ncclComm_t c, cudaStream_t s) {
  const std::size_t all = alive(c) ? n * static_cast<std::size_t>(c->state->size) : 0;
  return call(c, {terms(NcclKind::kAllGather, n, t), bytes(in), bytes(out), -1, s}, n, all);
}

}  // extern "C"
