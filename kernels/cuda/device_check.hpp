// The checks of an operation whose tensors lie on the device, and the choice of a kernel for their type.
#pragma once

#include <utility>

#include "kernels/cpu/check.hpp"
#include "kernels/cuda/runtime.hpp"

namespace banyan::kernels::cuda {

/// The same shapes and types are checked as on the CPU; only the place of the memory is another.
class DeviceCheck {
 public:
  explicit constexpr DeviceCheck(const char* operation) : check_(operation), name_(operation) {}

  void must(cudaError_t e) const { cuda::must(name_, e); }
  void that(bool ok, const char* name, const char* problem) const { check_.that(ok, name, problem); }
  template <class T = float, class View, class... Extents>
  auto strided(const char* name, const View& v, Extents... extents) const {
    return check_.strided<T>(name, placed(name, v), extents...);
  }
  template <class T = float, class View, class... Extents>
  auto matrix(const char* name, const View& v, Extents... extents) const {
    return check_.matrix<T>(name, placed(name, v), extents...);
  }
  template <class T = float, class View>
  auto flat(const char* name, const View& v, std::int64_t count) const {
    return check_.flat<T>(name, placed(name, v), count);
  }

  /// run(T{}) for the type of elements that the operation is about.
  template <class Run>
  void for_type(DType dtype, Run&& run) const {
    switch (dtype) {
      case DType::kF32:
        return run(float{});
      case DType::kBF16:
        return run(__nv_bfloat16{});
      default:
        throw BugError("{}: there is no kernel for {}", name_, name_of(dtype));
    }
  }

 private:
  /// The view as one that cpu::Check lets pass, when it is one of the device.
  template <class View>
  View placed(const char* name, View v) const {
    if (v.kind != MemoryKind::kDevice && v.count() > 0)
      check_.fail(name, "lies in host memory, which kernels of a GPU cannot read");
    v.kind = MemoryKind::kHost;
    return v;
  }

  cpu::Check check_;
  const char* name_;
};

}  // namespace banyan::kernels::cuda
