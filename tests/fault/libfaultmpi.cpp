// LD_PRELOAD library that makes one call into the MPI library or UCX go wrong on one rank: in the start, when nobody
// has heard of anybody yet, or in the middle of a collective.
//
//   FAULT=CALL:N:ACTION   the N-th such call (from 1)
//     CALL    a name from the table below, or any
//     ACTION  kill (SIGKILL to itself instead of the call), stop (SIGSTOP to itself before it), hang (this thread never
//             comes back, the others go on), or an errno name: the call is not made and fails
//   FAULT_RANK=R          only in the process of rank R
//   FAULT_WHEN=PATH       calls count once this file is there
//   FAULT_REACHED=PATH    this file is created when the fault strikes
//
// Calls that only look (MPI_Test, ucp_worker_progress) do not count: how often they are made is a matter of time.
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/fault/fault_plan.hpp"

namespace {

constexpr int kMpiError = 16;       // Open MPI's MPI_ERR_OTHER
constexpr intptr_t kUcxError = -3;  // UCS_ERR_IO_ERROR, as a status and as a pointer

bool strikes(const char* call) { return banyan::fault::FaultPlan::get().strikes(call, true); }

}  // namespace

// Kinds of arguments are all that matters for passing them on: handles are pointers in Open MPI.
#define PASS_ON(result, function, failure, parameters, arguments)                                 \
  extern "C" result function parameters {                                                         \
    static const auto real = reinterpret_cast<result(*) parameters>(dlsym(RTLD_NEXT, #function)); \
    return strikes(#function) ? (result)(failure) : real arguments;                               \
  }
#define MPI_CALL(function, parameters, arguments) PASS_ON(int, function, kMpiError, parameters, arguments)

MPI_CALL(MPI_Init_thread, (int* argc, void* argv, int required, int* provided), (argc, argv, required, provided))
MPI_CALL(MPI_Comm_dup, (void* comm, void* result), (comm, result))
MPI_CALL(MPI_Comm_split_type, (void* comm, int type, int key, void* info, void* result),
         (comm, type, key, info, result))
MPI_CALL(MPI_Comm_create_group, (void* comm, void* group, int tag, void* result), (comm, group, tag, result))
MPI_CALL(MPI_Comm_free, (void* comm), (comm))
MPI_CALL(MPI_Bcast, (void* data, int count, void* type, int root, void* comm), (data, count, type, root, comm))
MPI_CALL(MPI_Allgather, (const void* in, int n, void* type, void* out, int m, void* out_type, void* comm),
         (in, n, type, out, m, out_type, comm))
MPI_CALL(MPI_Allreduce, (const void* in, void* out, int n, void* type, void* op, void* comm),
         (in, out, n, type, op, comm))
MPI_CALL(MPI_Isend, (const void* data, int n, void* type, int to, int tag, void* comm, void* request),
         (data, n, type, to, tag, comm, request))
MPI_CALL(MPI_Irecv, (void* data, int n, void* type, int from, int tag, void* comm, void* request),
         (data, n, type, from, tag, comm, request))
MPI_CALL(MPI_Ibarrier, (void* comm, void* request), (comm, request))
MPI_CALL(MPI_Finalize, (), ())

PASS_ON(int, ucp_init_version, kUcxError,
        (unsigned major, unsigned minor, const void* params, const void* config, void* context),
        (major, minor, params, config, context))
PASS_ON(int, ucp_worker_create, kUcxError, (void* context, const void* params, void* worker), (context, params, worker))
PASS_ON(int, ucp_ep_create, kUcxError, (void* worker, const void* params, void* endpoint), (worker, params, endpoint))
PASS_ON(void*, ucp_tag_send_nbx, kUcxError, (void* endpoint, const void* data, size_t n, uint64_t tag, const void* how),
        (endpoint, data, n, tag, how))
PASS_ON(void*, ucp_tag_recv_nbx, kUcxError,
        (void* worker, void* data, size_t n, uint64_t tag, uint64_t mask, const void* how),
        (worker, data, n, tag, mask, how))
