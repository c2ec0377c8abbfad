// CUDA without a GPU: executes kernels, compiled by a host compiler from the sources that nvcc compiles, on the CPU,
// and complains of what a GPU would not forgive.  Test-only.  What each part does: README.md.
//
// This header is what the parts share.  Kernels see it through device.hpp; tests use the first section.
// One operating system thread at a time may use the layer.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace emu {

// ---- for tests

/// Order of execution.  0: threads and blocks in order, streams as late as possible.  1: reversed order, streams at
/// once.  Other even seeds: threads uniformly at random; other odd seeds: random priorities by warp, so that one warp
/// runs as far ahead of the others as the barriers allow; both with streams at random.  Default: environment
/// CUDAEMU_SEED, else 0.
void set_seed(long seed);
/// All complaints since reset(), one a line.  The first makes every later call of the runtime fail, as on a GPU.
const std::string& reports();
/// Forgets complaints and errors.
void reset();
/// Whether cuBLASLt has algorithms with epilogues other than a bias; it has unless a test says so.
void set_epilogues(bool there);
bool has_epilogues();
/// Calls since the start that made the host wait for the device.
std::uint64_t host_waits();
/// Events that the host asked for before they had happened, and calls that took or gave back memory of the device or
/// pinned memory.
std::uint64_t event_waits();
std::uint64_t memory_calls();
/// Threads run since the start, for measurements.
std::uint64_t threads_run();

// ---- for device.hpp: what a kernel calls

struct Site {
  const char* file = "?";
  int line = 0;
};
enum class WarpOp : std::uint8_t {
  kSyncwarp,
  kShuffle,
  kShuffleUp,
  kShuffleDown,
  kShuffleXor,
  kBallot,
  kReduce,
  kLdmatrix,
  kMma
};
enum class Vote : std::uint8_t { kNone, kCount, kAnd, kOr };

/// __syncthreads() and its voting forms.
int sync_threads(Site site, Vote vote, int predicate);
/// What all lanes of a mask passed to the same warp operation.
struct Exchange {
  std::uint64_t value[32];
  std::uint32_t word[32][6];  ///< of tensor cores
  unsigned present;           ///< lanes that took part
};
/// words: null or six.
const Exchange& warp_exchange(WarpOp op, unsigned mask, std::uint64_t value, Site site,
                              const std::uint32_t* words = nullptr);
std::uint64_t lane_value(const Exchange& all, int lane);  ///< a read that sanitizers do not see: registers, not memory
unsigned lanes_present(const Exchange& all);
/// Complains when lane `source` did not take part.
void check_lane(const Exchange& all, WarpOp op, unsigned mask, int source, Site site);
unsigned lane_id();

/// The one object of this kind in the block's shared memory; `key` tells kinds apart.
void* shared_object(const void* key, std::size_t size, std::size_t alignment);
/// The launch's dynamic shared memory; complains when it has fewer bytes.
void* dynamic_shared_bytes(std::size_t bytes);
/// Whether it is in the block's shared memory.
bool in_shared(const void* p);
/// Of the thread: the destination is NaN until async_wait(n) says that all but the n newest groups must have come; a
/// group ends at a commit.
void async_copy(void* to, const void* from, std::size_t bytes, Site site);
void async_commit();
void async_wait(unsigned newest);
/// d += a b, of a warp: tensor_core.cpp has the map of lanes.
void mma_m16n8k16(float* d, const std::uint32_t* a, std::uint32_t b0, std::uint32_t b1, Site site);
void fence();
void atomic_point();  ///< where another thread may come in between

/// Complains and abandons the launch.
[[noreturn]] void fail(const std::string& what, Site site = {});

/// Checks a launch as the driver would and puts it in its stream.  pointers: the kernel's arguments that are pointers.
cudaError_t enqueue_kernel(const char* name, const void* function, dim3 grid, dim3 block, std::size_t shared,
                           cudaStream_t stream, const void* const* pointers, int pointer_count,
                           std::function<void()> body);

// ---- between the parts of the layer

inline constexpr std::size_t kSharedMost = 227 * 1024, kSharedStatic = 48 * 1024;  // bytes a block may have (sm_90)
inline constexpr std::size_t kRedZone = 64;
inline constexpr char kRedByte = static_cast<char>(0xa5);

long seed();
std::uint64_t random_number();
void report(const std::string& what);
cudaError_t sticky_error();
void count_host_wait();
void count_event_wait();
void count_memory_call();
void count_threads(std::uint64_t n);

/// Runs all blocks of a launch (grid.cpp).
void run_grid(dim3 grid, dim3 block, std::size_t dynamic_shared, const std::function<void()>& body);
/// Puts work into a stream (streams.cpp).
void enqueue(cudaStream_t stream, std::function<void()> work);

/// 0xff everywhere, which is NaN as float, bf16 and half; written past the sanitizers.
void fill_poison(void* p, std::size_t bytes);
void raw_fill(void* p, char value, std::size_t bytes);
bool red_zone_intact(const void* p, std::size_t bytes);

/// Opens device memory, which host code cannot touch, for the duration.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};
bool is_device(const void* p);
bool is_pinned(const void* p);
/// Whether [p, p + bytes) lies inside one live device allocation.
bool device_range(const void* p, std::size_t bytes);
/// Complains of writes behind device allocations.
void check_overruns();
cudaError_t device_allocate(void** p, std::size_t bytes);
cudaError_t device_free(void* p);
void device_free_bytes(std::size_t* free, std::size_t* total);
cudaError_t pinned_allocate(void** p, std::size_t bytes);
cudaError_t pinned_free(void* p);
/// Remembers the error for cudaGetLastError and passes on an earlier fatal one.
cudaError_t result(cudaError_t error);
cudaError_t take_last_error();

}  // namespace emu
