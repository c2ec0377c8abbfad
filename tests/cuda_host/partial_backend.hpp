// The CUDA backend as far as it goes: what it has no kernels for yet fails the test that calls it.
#pragma once

#include <gtest/gtest.h>

#include "kernels/cuda/cuda_backend.hpp"

namespace banyan::kernels::test {

class PartialCudaBackend final : public cuda::CudaBackend {
 public:
  /// Small memory: what is in use is locked and opened at every launch.
  PartialCudaBackend() : CudaBackend({.products = std::size_t{4} << 10, .workspace = std::size_t{1} << 20, .staging = std::size_t{64} << 10}) {}
  static bool has(const std::string& op) { return op.rfind("attention", 0) != 0; }

  void attention_forward(Queue, View, View, ConstView, ConstView, ConstView, const Attention&) override {
    FAIL() << "attention_forward has no kernel";
  }
  void attention_backward(Queue, View, View, View, ConstView, ConstView, ConstView, ConstView, ConstView, ConstView,
                          const Attention&) override {
    FAIL() << "attention_backward has no kernel";
  }
};

}  // namespace banyan::kernels::test
