// The CUDA backend with little memory of its own: what is in use is locked and opened at every launch.
#pragma once

#include "kernels/cuda/cuda_backend.hpp"

namespace banyan::kernels::test {

class SmallCudaBackend final : public cuda::CudaBackend {
 public:
  SmallCudaBackend()
      : CudaBackend({.products = std::size_t{4} << 10,
                     .workspace = std::size_t{1} << 20,
                     .staging = std::size_t{64} << 10,
                     .numbers = 16}) {}
};

}  // namespace banyan::kernels::test
