// Slabs: boxes of a logical tensor, and the bookkeeping of cutting tensors into them.  Pure.
#pragma once

#include <cstdint>
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

/// The rows [i R / n, (i+1) R / n) of a slab (R = count[0]; 1-D slabs by element), which member i of n writes, or owns
/// under ZeRO-1.  The returned slab is in global coordinates and may be empty.  Rank 0 belongs to member 0.
Slab row_slice(const Slab& slab, int i, int n);

/// The common box; elements() == 0 when there is none.
Slab intersect(const Slab& a, const Slab& b);

/// "" when the slabs cover `shape` exactly once; otherwise a sentence saying what is wrong.  Cost is bounded even for
/// hostile input: cuts that are not made by repeatedly splitting along an axis are checked pair by pair up to a limit.
std::string coverage_problem(const Shape& shape, std::span<const Slab> slabs);

/// Copies the part that `from` (contiguous data of box `from_slab`) has in common with `to` (box `to_slab`, rows may be
/// strided).  Returns the number of elements copied.
std::int64_t copy_overlap(const Slab& from_slab, ConstView from, const Slab& to_slab, View to);

}  // namespace banyan::io
