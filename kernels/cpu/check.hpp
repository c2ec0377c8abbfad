// Typed access to the Views an operation is given, and the checks of their shapes.  Every failure is a BugError that
// names the operation and the argument: callers have already refused what users can get wrong.
#pragma once

#include <cstdint>
#include <type_traits>

#include "src/base/bf16.hpp"
#include "src/base/error.hpp"
#include "src/base/view.hpp"

namespace banyan::kernels::cpu {

/// A typed matrix with strided rows.
template <class T>
struct Matrix {
  T* data = nullptr;
  std::int64_t rows = 0, columns = 0, stride = 0;
  T* row(std::int64_t r) const { return data + r * stride; }
  std::int64_t count() const { return rows * columns; }
};

/// One call of one operation; its name opens every message.
class Check {
 public:
  explicit constexpr Check(const char* operation) : operation_(operation) {}

  [[noreturn]] void fail(const char* name, const char* problem) const {
    throw BugError("{}: {} {}", operation_, name, problem);
  }
  void that(bool ok, const char* name, const char* problem) const {
    if (!ok) fail(name, problem);
  }
  template <class T, class Byte>
  auto typed(const char* name, const BasicView<Byte>& v) const {
    if (v.dtype != dtype_of<T>)
      throw BugError("{}: {} has type {}, this operation takes {}", operation_, name, name_of(v.dtype),
                     name_of(dtype_of<T>));
    if (v.kind == MemoryKind::kDevice) fail(name, "lies in device memory, which the CPU cannot read");
    if (!v && v.count() > 0) fail(name, "is missing");
    return v.template as<T>();
  }
  /// Rank 2, rows strided.
  template <class T = float, class Byte>
  auto strided(const char* name, const BasicView<Byte>& v) const {
    using P = std::remove_pointer_t<decltype(typed<T>(name, v))>;
    P* p = typed<T>(name, v);
    if (v.shape.rank() != 2) throw BugError("{}: {} is {}, not a matrix", operation_, name, v.shape.str());
    if (v.shape[0] > 1 && v.row_stride < v.shape[1]) fail(name, "has rows that overlap");
    return Matrix<P>{p, v.shape[0], v.shape[1], v.shape[0] > 1 ? v.row_stride : v.shape[1]};
  }
  template <class T = float, class Byte>
  auto strided(const char* name, const BasicView<Byte>& v, std::int64_t rows, std::int64_t columns) const {
    const auto m = strided<T>(name, v);
    if (m.rows != rows || m.columns != columns)
      throw BugError("{}: {} is {}, not [{}, {}]", operation_, name, v.shape.str(), rows, columns);
    return m;
  }
  /// Rank 2, rows one behind the other.
  template <class T = float, class Byte>
  auto matrix(const char* name, const BasicView<Byte>& v) const {
    if (!v.contiguous()) fail(name, "is strided, this operation takes contiguous rows");
    return strided<T>(name, v);
  }
  template <class T = float, class Byte>
  auto matrix(const char* name, const BasicView<Byte>& v, std::int64_t rows, std::int64_t columns) const {
    if (!v.contiguous()) fail(name, "is strided, this operation takes contiguous rows");
    return strided<T>(name, v, rows, columns);
  }
  /// Contiguous with `count` elements, any shape.
  template <class T = float, class Byte>
  auto flat(const char* name, const BasicView<Byte>& v, std::int64_t count) const {
    if (!v.contiguous()) fail(name, "is strided, this operation takes contiguous elements");
    if (v.count() != count)
      throw BugError("{}: {} is {} ({} elements), not {} elements", operation_, name, v.shape.str(), v.count(), count);
    return typed<T>(name, v);
  }
  /// body(float{}) or body(BF16{}): the type of the elements of an activation.  Operations compute in float whatever
  /// it is, and statistics, biases, norm weights and gradients of parameters are always float.
  template <class Byte, class Body>
  auto by_element(const char* name, const BasicView<Byte>& v, const Body& body) const {
    if (v.dtype == DType::kF32) return body(float{});
    if (v.dtype == DType::kBF16) return body(BF16{});
    throw BugError("{}: {} has type {}, this operation takes f32 and bf16", operation_, name, name_of(v.dtype));
  }

 private:
  const char* operation_;
};

}  // namespace banyan::kernels::cpu
