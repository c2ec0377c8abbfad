// A piece of the device's memory from which arrays are taken: the first gap that is large enough, nothing kept back.
#pragma once

#include <cstddef>
#include <map>

#include "kernels/cuda/runtime.hpp"

namespace banyan::kernels::cuda {

class DeviceArena {
 public:
  /// ConfigError when the device has not so much.
  explicit DeviceArena(std::size_t bytes);
  /// At a multiple of kDeviceLine; null when there is no gap for it.
  void* take(std::size_t bytes);
  /// False when it is not one of its arrays.
  bool give_back(const void* array);
  std::size_t bytes() const { return memory_.bytes(); }
  std::size_t taken() const { return taken_; }

 private:
  Memory memory_;
  std::size_t taken_ = 0;
  std::map<std::size_t, std::size_t> gaps_, arrays_;  ///< bytes by offset
};

}  // namespace banyan::kernels::cuda
