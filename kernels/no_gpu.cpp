// Stands in for the CUDA backend in programs without it; kernels/cuda/make_backend.cpp comes first in those that have
// it.
#include "kernels/gpu.hpp"

namespace banyan::kernels {

std::unique_ptr<DeviceBackend> make_cuda_backend(LocalRank) {
  throw ConfigError(
      "run.backend = cuda, but this program computes on CPUs only: start banyan-cuda, which the build makes beside it "
      "where NVIDIA's CUDA toolkit is installed, or write run.backend = cpu");
}

}  // namespace banyan::kernels
