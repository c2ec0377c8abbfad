// A View is a non-owning tensor: pointer, element type, shape, memory kind.  Rows (index 0) may be strided; everything
// inside a row is contiguous.  Views are values; whoever allocated the memory outlives them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>

#include "src/base/dtype.hpp"
#include "src/base/error.hpp"

namespace banyan {

/// Up to five extents.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents) {
    if (extents.size() > extents_.size()) throw BugError("a shape has at most {} extents", extents_.size());
    for (std::int64_t e : extents) extents_[static_cast<std::size_t>(rank_++)] = e;
  }
  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return extents_[static_cast<std::size_t>(axis)]; }
  std::int64_t& operator[](int axis) { return extents_[static_cast<std::size_t>(axis)]; }
  void push_back(std::int64_t extent) {
    if (rank_ >= static_cast<int>(extents_.size())) throw BugError("a shape has at most {} extents", extents_.size());
    extents_[static_cast<std::size_t>(rank_++)] = extent;
  }
  /// Number of elements; 1 for rank 0.
  std::int64_t count() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= (*this)[i];
    return n;
  }
  /// Elements behind one index of axis 0.
  std::int64_t row_count() const { return product_from(1); }
  bool operator==(const Shape& other) const = default;
  std::string str() const {
    std::string s = "[";
    for (int i = 0; i < rank_; ++i) s += (i ? ", " : "") + std::to_string((*this)[i]);
    return s + "]";
  }

 private:
  std::int64_t product_from(int axis) const {
    std::int64_t n = 1;
    for (int i = axis; i < rank_; ++i) n *= (*this)[i];
    return n;
  }
  std::array<std::int64_t, 5> extents_{};
  int rank_ = 0;
};

/// Byte = std::byte (View) or const std::byte (ConstView).
template <class Byte>
struct BasicView {
  Byte* data = nullptr;
  DType dtype = DType::kF32;
  MemoryKind kind = MemoryKind::kHost;
  Shape shape;
  std::int64_t row_stride = 0;  ///< elements from one index of axis 0 to the next

  BasicView() = default;
  BasicView(Byte* d, DType t, Shape s, MemoryKind k = MemoryKind::kHost)
      : data(d), dtype(t), kind(k), shape(s), row_stride(s.row_count()) {}
  /// View of typed host memory.
  template <class T, class = std::enable_if_t<!std::is_same_v<std::remove_const_t<T>, std::byte>>>
  BasicView(T* d, Shape s)
      : data(reinterpret_cast<Byte*>(d)), dtype(dtype_of<std::remove_const_t<T>>), shape(s), row_stride(s.row_count()) {}
  /// A View converts to a ConstView.
  template <class B, class = std::enable_if_t<std::is_same_v<const B, Byte> && !std::is_same_v<B, Byte>>>
  BasicView(const BasicView<B>& o)  // NOLINT: meant to be implicit
      : data(o.data), dtype(o.dtype), kind(o.kind), shape(o.shape), row_stride(o.row_stride) {}

  explicit operator bool() const { return data != nullptr; }
  std::int64_t count() const { return shape.count(); }
  std::size_t bytes() const { return static_cast<std::size_t>(count()) * size_of(dtype); }
  bool contiguous() const { return shape.rank() == 0 || shape[0] <= 1 || row_stride == shape.row_count(); }

  template <class T>
  auto as() const {
    using P = std::conditional_t<std::is_const_v<Byte>, const T*, T*>;
    return reinterpret_cast<P>(data);
  }
  /// Rows [begin, end) of axis 0.
  BasicView rows(std::int64_t begin, std::int64_t end) const {
    BasicView v = *this;
    v.data = data + static_cast<std::size_t>(begin * row_stride) * size_of(dtype);
    v.shape[0] = end - begin;
    return v;
  }
  /// Columns [begin, end) of a matrix; keeps the row stride.
  BasicView columns(std::int64_t begin, std::int64_t end) const {
    BasicView v = *this;
    v.data = data + static_cast<std::size_t>(begin) * size_of(dtype);
    v.shape[1] = end - begin;
    return v;
  }
  /// The same contiguous elements under another shape.
  BasicView reshaped(Shape s) const {
    if (!contiguous() || s.count() != count()) throw BugError("cannot view {} as {}", shape.str(), s.str());
    return BasicView(data, dtype, s, kind);
  }
};

using View = BasicView<std::byte>;
using ConstView = BasicView<const std::byte>;

}  // namespace banyan
