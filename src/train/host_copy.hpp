// Values of the device's memory for what reads host memory: checksums, files.  Where the device is the CPU nothing is
// copied.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "kernels/gpu.hpp"

namespace banyan::train {

class HostCopy {
 public:
  /// The backend outlives this object.
  HostCopy(kernels::Backend& backend, Queue queue)
      : device_(dynamic_cast<kernels::DeviceBackend*>(&backend)), queue_(queue) {}
  ~HostCopy();
  HostCopy(const HostCopy&) = delete;
  HostCopy& operator=(const HostCopy&) = delete;

  /// The view itself where it lies in host memory, else a copy of it there, which lasts until the next call.
  ConstView of(ConstView v);
  /// The same of several at a time.
  std::vector<ConstView> of_all(std::span<const ConstView> views);
  /// fill(to) writes the values of `out` into host memory; they are in `out` when this returns.
  void write(View out, const std::function<void(View to)>& fill);

 private:
  /// At least so much pinned memory; what was in it is lost.
  std::byte* room(std::size_t bytes);

  kernels::DeviceBackend* const device_;  ///< null: the CPU
  const Queue queue_;
  std::byte* memory_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace banyan::train
