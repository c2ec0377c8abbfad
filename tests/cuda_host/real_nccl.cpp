// comm/nccl linked with the real NCCL: the library is taken, by its version; with a GPU a rank alone adds up.
#include <cuda_runtime_api.h>

#include <cstdio>

#include "comm/nccl/nccl_world.hpp"
#include "src/base/error.hpp"

using namespace banyan;

int main() {
  const std::string problem = comm::nccl_problem();
  if (!problem.empty()) {
    std::fprintf(stderr, "%s\n", problem.c_str());
    return 1;
  }
  cudaStream_t stream = nullptr;
  const auto nccl = comm::make_nccl_world({.stream = [&](Queue) { return static_cast<void*>(stream); }});
  std::printf("%s\n", nccl->describe().c_str());
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::printf("there is no GPU here: nothing more was run\n");
    return 0;
  }
  float* x = nullptr;
  if (cudaStreamCreate(&stream) != cudaSuccess ||
      cudaMalloc(reinterpret_cast<void**>(&x), 8 * sizeof *x) != cudaSuccess)
    return 1;
  float sum[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  try {
    comm::run_loopback(1, [&](comm::World& world) {
      world.configure({}, [](Queue, View, ConstView, ConstView, comm::ReduceOp) {}, {});
      const auto c = nccl->group(world.group({0}, 1, "alone"));
      const View v(reinterpret_cast<std::byte*>(x), DType::kF32, {8}, MemoryKind::kDevice);
      if (cudaMemcpyAsync(x, sum, sizeof sum, cudaMemcpyHostToDevice, stream) != cudaSuccess) throw BugError("a copy");
      c->all_reduce({}, v, comm::ReduceOp::kSum, "alone").wait();
      if (cudaMemcpyAsync(sum, x, sizeof sum, cudaMemcpyDeviceToHost, stream) != cudaSuccess) throw BugError("a copy");
      if (cudaStreamSynchronize(stream) != cudaSuccess) throw BugError("a wait");
    });
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  std::printf("a sum over one rank on a GPU: %g\n", sum[7]);
  return sum[7] == 8 ? 0 : 1;
}
