// Slabs: boxes of a logical tensor, and the bookkeeping of cutting tensors into them.  Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "src/base/view.hpp"

namespace banyan::io {

/// offset and count per axis, in global coordinates of a tensor.  Rank 0 is a single value.
struct Slab {
  Shape offset, count;
  std::int64_t elements() const { return count.count(); }
  bool operator==(const Slab&) const = default;
};

/// Walks over a box inside a view in row-major order, in runs that lie end to end in memory.  `memory` is the view's
/// shape and `row_stride` its stride; the box starts at the view's first element.  use(at, element, run) gets the index
/// of the run's first element inside the box, its place in memory (in elements) and the run's length.
template <class Use>
void for_each_run(const Shape& box, const Shape& memory, std::int64_t row_stride, const Use& use) {
  if (box.count() == 0) return;
  const int rank = box.rank();
  Shape at = box;
  for (int i = 0; i < rank; ++i) at[i] = 0;
  // The last axis is one run, but for a vector with a stride.
  const bool singles = rank == 1 && row_stride != 1;
  const std::int64_t run = rank == 0 || singles ? 1 : box[rank - 1];
  for (;;) {
    std::int64_t behind_rows = 0;
    for (int i = 1; i < rank; ++i) behind_rows = behind_rows * memory[i] + at[i];
    use(at, rank == 0 ? 0 : at[0] * row_stride + behind_rows, run);
    int axis = singles ? 0 : rank - 2;
    while (axis >= 0 && ++at[axis] == box[axis]) at[axis--] = 0;
    if (axis < 0) return;
  }
}

/// The rows [i R / n, (i+1) R / n) of a slab (R = count[0]; 1-D slabs by element), which member i of n writes, or owns
/// under ZeRO-1.  The returned slab is in global coordinates and may be empty.  Rank 0 belongs to member 0.
Slab row_slice(const Slab& slab, int i, int n);

/// The common box; elements() == 0 when there is none.
Slab intersect(const Slab& a, const Slab& b);

/// "" when the slabs cover `shape` exactly once; otherwise a sentence saying what is wrong.  Cost is bounded even for
/// hostile input: cuts that are not made by repeatedly splitting along an axis are checked pair by pair up to a limit.
std::string coverage_problem(const Shape& shape, std::span<const Slab> slabs);

/// Cuts a slab into boxes of at most `limit` elements whose elements, one box after the other, are in row-major order:
/// the pieces in which a long run of bytes is read.
void for_each_part(const Slab& slab, std::int64_t limit, const std::function<void(const Slab&)>& use);

/// Copies the part that `from` (contiguous data of box `from_slab`) has in common with `to` (box `to_slab`, rows may be
/// strided).  Returns the number of elements copied.
std::int64_t copy_overlap(const Slab& from_slab, ConstView from, const Slab& to_slab, View to);

}  // namespace banyan::io
