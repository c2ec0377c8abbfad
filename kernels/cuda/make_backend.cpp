#include "kernels/cuda/cuda_backend.hpp"
#include "kernels/gpu.hpp"

namespace banyan::kernels {

std::unique_ptr<DeviceBackend> make_cuda_backend(LocalRank rank) {
  int devices = 0;
  const cudaError_t e = cudaGetDeviceCount(&devices);
  cuda::must("run.backend = cuda", e);
  if (devices == 0) cuda::must("run.backend = cuda", cudaErrorNoDevice);
  cuda::CudaOptions options;
  options.device = rank.number % devices;
  // Ranks whose numbers leave the same rest share a GPU.
  options.sharers = (rank.count - options.device + devices - 1) / devices;
  return std::make_unique<cuda::CudaBackend>(options);
}

}  // namespace banyan::kernels
