// The layer notices what a GPU would not forgive: small kernels and host programs, right and wrong.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/cuda/portable.cuh"
#include "tests/cuda_host/emulation.hpp"

namespace {

using banyan::kernels::cuda::block_shared;
using banyan::kernels::cuda::kAllLanes;
using banyan::kernels::cuda::launch;
using banyan::kernels::cuda::warp_sum;

constexpr int kThreads = 128;

// ---- kernels, with the mistake chosen by a template argument

__global__ void fill(float* p, float value) { p[blockIdx.x * blockDim.x + threadIdx.x] = value; }
__global__ void copy(float* to, const float* from) { to[threadIdx.x] = from[threadIdx.x]; }

enum class Sum { kRight, kNoBarrierBeforeRead, kDivergentBarrier, kDivergentShuffle, kUninitialised };
template <Sum Kind>
__global__ void sum_kernel(float* out, const float* in) {
  auto& parts = block_shared<float[kThreads / 32]>();
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  float v = in[threadIdx.x];
  if constexpr (Kind == Sum::kDivergentShuffle) {
    if (lane < 16) v = warp_sum(v);
  } else {
    v = warp_sum(v);
  }
  if (lane == 0 && (Kind != Sum::kUninitialised || warp > 0)) parts[warp] = v;
  if constexpr (Kind == Sum::kDivergentBarrier) {
    if (warp < 2) __syncthreads();
  } else if constexpr (Kind != Sum::kNoBarrierBeforeRead) {
    __syncthreads();
  }
  if (threadIdx.x != 0) return;
  float total = 0;
  for (const float p : parts) total += p;
  *out = total;
}

/// Rounds of neighbours reading each other; without the second barrier a fast warp overwrites what a slow one reads.
template <bool Both>
__global__ void rounds_kernel(float* out) {
  auto& line = block_shared<float[kThreads]>();
  const int me = static_cast<int>(threadIdx.x), left = (me + kThreads - 33) % kThreads;
  float v = static_cast<float>(me);
  for (int round = 0; round < 4; ++round) {
    line[me] = v;
    __syncthreads();
    v = line[left] + 1;
    if (Both) __syncthreads();
  }
  out[me] = v;
}

[[maybe_unused]] __global__ void overrun_shared(float* out) {
  auto& some = block_shared<float[kThreads - 1]>();
  // Through a pointer that the compiler does not know the length of.
  float* p = some;
  asm volatile("" : "+r"(p));
  p[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = p[0];
}

/// Ends with shuffles: lanes leave while others still read; the last warp is short.
__global__ void leave_in_turn(float* out, const float* in) {
  const unsigned mask = threadIdx.x < 32 ? kAllLanes : 0xffu;
  float v = in[threadIdx.x];
  for (int other = threadIdx.x < 32 ? 16 : 4; other > 0; other /= 2) v += __shfl_xor_sync(mask, v, other);
  out[threadIdx.x] = v;
}

[[maybe_unused]] __global__ void add_without_atomics(int* n) { *n += 1; }
__global__ void add_with_atomics(int* n) { atomicAdd(n, 1); }

// ---- what a test has

class Layer : public testing::Test {
 protected:
  Layer() {
    emu::reset();
    EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&a), bytes), cudaSuccess);
    EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&b), bytes), cudaSuccess);
    EXPECT_EQ(cudaMallocHost(reinterpret_cast<void**>(&host), bytes), cudaSuccess);
    cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&two, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  }
  ~Layer() override {
    emu::reset();
    cudaFree(a);
    cudaFree(b);
    cudaFreeHost(host);
    cudaStreamDestroy(one);
    cudaStreamDestroy(two);
    cudaEventDestroy(event);
    emu::reset();
    emu::set_seed(0);
  }
  void upload(float value) {
    const std::vector<float> values(kThreads, value);
    cudaMemcpy(a, values.data(), bytes, cudaMemcpyHostToDevice);
  }
  /// Launches on one block and waits.
  template <class... P, class... A>
  cudaError_t run(void (*kernel)(P...), A... args) {
    const cudaError_t e = launch({dim3(1), dim3(kThreads), 0, nullptr}, kernel, args...);
    const cudaError_t end = cudaDeviceSynchronize();
    return e ? e : end;
  }
  float read(const float* p) {
    float v = 0;
    cudaMemcpy(&v, p, sizeof v, cudaMemcpyDeviceToHost);
    return v;
  }
  bool complained_of(const std::string& words) { return emu::reports().find(words) != std::string::npos; }

  static constexpr std::size_t bytes = kThreads * sizeof(float);
  float *a = nullptr, *b = nullptr, *host = nullptr;
  cudaStream_t one = nullptr, two = nullptr;
  cudaEvent_t event = nullptr;
};

// ---- threads of a block

TEST_F(Layer, RunsARightKernelInEveryOrder) {
  for (long seed = 0; seed < 8; ++seed) {
    emu::set_seed(seed);
    upload(1);
    EXPECT_EQ(run(sum_kernel<Sum::kRight>, b, a), cudaSuccess) << emu::reports();
    EXPECT_EQ(read(b), kThreads) << "seed " << seed;
    EXPECT_EQ(run(rounds_kernel<true>, b), cudaSuccess);
    EXPECT_EQ(read(b), static_cast<float>((kThreads * 4 - 33 * 4) % kThreads + 4));
    upload(1);
    EXPECT_EQ(launch({dim3(1), dim3(40), 0, nullptr}, leave_in_turn, b, a), cudaSuccess);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess) << emu::reports();
    EXPECT_EQ(read(b), 32);
    EXPECT_EQ(read(b + 39), 8);
  }
}

#ifdef __SANITIZE_THREAD__
TEST_F(Layer, ThreadSanitizerSeesRacesWhateverTheOrder) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(run(sum_kernel<Sum::kNoBarrierBeforeRead>, b, a), "data race");
  EXPECT_DEATH(run(rounds_kernel<false>, b), "data race");
  EXPECT_DEATH(launch({dim3(8), dim3(1), 0, nullptr}, add_without_atomics, reinterpret_cast<int*>(a));
               cudaDeviceSynchronize(), "data race");
}
#else
TEST_F(Layer, NoticesAMissingBarrierBeforeARead) {
  upload(1);
  EXPECT_EQ(run(sum_kernel<Sum::kNoBarrierBeforeRead>, b, a), cudaSuccess);
  EXPECT_FALSE(read(b) == kThreads);
}

TEST_F(Layer, NoticesAMissingBarrierBeforeAWriteInSomeOrder) {
  bool noticed = false;
  for (long seed = 0; seed < 8; ++seed) {
    emu::set_seed(seed);
    run(rounds_kernel<false>, b);
    noticed |= read(b) != static_cast<float>((kThreads * 4 - 33 * 4) % kThreads + 4);
  }
  EXPECT_TRUE(noticed);
}
#endif

TEST_F(Layer, NoticesADivergentBarrier) {
  upload(1);
  EXPECT_EQ(run(sum_kernel<Sum::kDivergentBarrier>, b, a), cudaErrorLaunchFailure);
  EXPECT_TRUE(complained_of("__syncthreads()"));
}

TEST_F(Layer, NoticesAFullMaskInHalfAWarp) {
  upload(1);
  EXPECT_EQ(run(sum_kernel<Sum::kDivergentShuffle>, b, a), cudaErrorLaunchFailure);
  EXPECT_FALSE(emu::reports().empty());
}

TEST_F(Layer, SharedMemoryIsNotANumberUntilWritten) {
  upload(1);
  EXPECT_EQ(run(sum_kernel<Sum::kUninitialised>, b, a), cudaSuccess);
  EXPECT_TRUE(std::isnan(read(b)));
}

#ifndef __SANITIZE_ADDRESS__  // which ends the program at once
TEST_F(Layer, NoticesWritesBehindSharedAndDeviceMemory) {
  EXPECT_EQ(run(overrun_shared, b), cudaErrorLaunchFailure);
  EXPECT_TRUE(complained_of("behind a shared object"));
  emu::reset();
  launch({dim3(1), dim3(kThreads + 1), 0, nullptr}, fill, a, 1.0f);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  EXPECT_TRUE(complained_of("behind a device allocation"));
}

TEST_F(Layer, DeviceMemoryIsOutOfTheHostsReach) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(static_cast<volatile float*>(a)[0] = 1, "");
}
#endif

TEST_F(Layer, AtomicsCountEveryThread) {
  auto* n = reinterpret_cast<int*>(a);
  for (long seed = 0; seed < 8; ++seed) {
    emu::set_seed(seed);
    cudaMemsetAsync(n, 0, sizeof(int), nullptr);
    launch({dim3(8), dim3(64), 0, nullptr}, add_with_atomics, n);
    int count = 0;
    cudaMemcpy(&count, n, sizeof count, cudaMemcpyDeviceToHost);
    EXPECT_EQ(count, 8 * 64);
  }
}

// ---- launches

TEST_F(Layer, RefusesWhatADriverRefuses) {
  EXPECT_EQ(launch({dim3(1), dim3(1025), 0, nullptr}, fill, a, 1.0f), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch({dim3(1, 70000), dim3(1), 0, nullptr}, fill, a, 1.0f), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch({dim3(0), dim3(1), 0, nullptr}, fill, a, 1.0f), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch({dim3(1), dim3(1), 100 * 1024, nullptr}, fill, a, 1.0f), cudaErrorInvalidValue);
  const auto* f = reinterpret_cast<const void*>(static_cast<void (*)(float*, float)>(fill));
  EXPECT_EQ(cudaFuncSetAttribute(f, cudaFuncAttributeMaxDynamicSharedMemorySize, 300 * 1024), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFuncSetAttribute(f, cudaFuncAttributeMaxDynamicSharedMemorySize, 100 * 1024), cudaSuccess);
  EXPECT_EQ(launch({dim3(1), dim3(1), 100 * 1024, nullptr}, fill, a, 1.0f), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

TEST_F(Layer, NoticesAHostPointer) {
  std::vector<float> values(kThreads);
  EXPECT_EQ(run(fill, values.data(), 1.0f), cudaErrorLaunchFailure);
  EXPECT_TRUE(complained_of("pointer to host memory"));
}

TEST_F(Layer, AFatalErrorStays) {
  std::vector<float> values(kThreads);
  run(fill, values.data(), 1.0f);
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, 4), cudaErrorLaunchFailure);
  emu::reset();
  EXPECT_EQ(cudaFree(p), cudaSuccess);
}

// ---- copies and streams

TEST_F(Layer, NothingHappensBeforeSomebodyWaits) {
  launch({dim3(1), dim3(kThreads), 0, one}, fill, a, 1.0f);
  cudaMemcpyAsync(host, a, bytes, cudaMemcpyDeviceToHost, one);
  EXPECT_FALSE(host[0] == 1) << "read before the wait";
  cudaStreamSynchronize(one);
  EXPECT_EQ(host[0], 1);
}

TEST_F(Layer, StreamsAreOrderedByEventsOnly) {
  for (const bool ordered : {false, true}) {
    cudaMemsetAsync(a, 0, bytes, one);
    cudaStreamSynchronize(one);
    launch({dim3(1), dim3(kThreads), 0, one}, fill, a, 1.0f);
    cudaEventRecord(event, one);
    if (ordered) cudaStreamWaitEvent(two, event, 0);
    launch({dim3(1), dim3(kThreads), 0, two}, copy, b, static_cast<const float*>(a));
    cudaMemcpyAsync(host, b, bytes, cudaMemcpyDeviceToHost, two);
    cudaStreamSynchronize(two);
    EXPECT_EQ(host[0], ordered ? 1 : 0);
  }
}

TEST_F(Layer, AStagingBufferReusedTooEarlyIsSeen) {
  host[0] = 1;
  cudaMemcpyAsync(a, host, bytes, cudaMemcpyHostToDevice, one);
  host[0] = 9;  // before the copy
  cudaStreamSynchronize(one);
  EXPECT_EQ(read(a), 9);
}

TEST_F(Layer, EventsTellWhenTheyAreDone) {
  launch({dim3(1), dim3(kThreads), 0, one}, fill, a, 1.0f);
  cudaEventRecord(event, one);
  EXPECT_EQ(cudaEventQuery(event), cudaErrorNotReady);
  EXPECT_EQ(cudaEventSynchronize(event), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);
  EXPECT_EQ(read(a), 1);
}

TEST_F(Layer, CountsWaitsOfTheHost) {
  const std::uint64_t before = emu::host_waits();
  launch({dim3(1), dim3(kThreads), 0, one}, fill, a, 1.0f);
  cudaMemcpyAsync(b, a, bytes, cudaMemcpyDeviceToDevice, one);
  cudaEventRecord(event, one);
  EXPECT_EQ(emu::host_waits(), before);
  std::vector<float> pageable(kThreads);
  cudaMemcpyAsync(pageable.data(), b, bytes, cudaMemcpyDeviceToHost, one);
  EXPECT_EQ(emu::host_waits(), before + 1) << "a copy to pageable memory waits";
  EXPECT_EQ(pageable[0], 1);
}

TEST_F(Layer, ChecksTheRangesOfCopiesAndFills) {
  EXPECT_NE(cudaMemsetAsync(a, 0, 2 * bytes, nullptr), cudaSuccess);
  emu::reset();
  EXPECT_NE(cudaMemcpyAsync(a, b, bytes + 1, cudaMemcpyDeviceToDevice, nullptr), cudaSuccess);
  emu::reset();
  EXPECT_NE(cudaMemcpy(a, host, bytes, cudaMemcpyDeviceToHost), cudaSuccess);
  emu::reset();
  EXPECT_NE(cudaMemcpy2DAsync(a, 16, b, 16, 12, kThreads, cudaMemcpyDeviceToDevice, nullptr), cudaSuccess);
  emu::reset();
  EXPECT_EQ(cudaMemcpy2DAsync(a, 16, b, 8, 8, kThreads / 4, cudaMemcpyDeviceToDevice, nullptr), cudaSuccess);
  EXPECT_EQ(cudaMemcpy2DAsync(a, 4, b, 16, 8, 2, cudaMemcpyDeviceToDevice, nullptr), cudaErrorInvalidPitchValue);
  emu::reset();
}

TEST_F(Layer, NoticesUseAfterFreeAndAnEndOfMemory) {
  float* gone = nullptr;
  cudaMalloc(reinterpret_cast<void**>(&gone), bytes);
  cudaMemsetAsync(gone, 0, bytes, nullptr);
  cudaDeviceSynchronize();
  EXPECT_EQ(cudaFree(gone), cudaSuccess);
  EXPECT_EQ(cudaFree(gone), cudaErrorInvalidValue);
  EXPECT_NE(cudaMemsetAsync(gone, 0, bytes, nullptr), cudaSuccess);
  emu::reset();
  void* huge = nullptr;
  EXPECT_EQ(cudaMalloc(&huge, std::size_t{1} << 40), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

}  // namespace
