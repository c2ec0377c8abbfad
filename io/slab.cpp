#include "io/slab.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "src/base/error.hpp"

namespace banyan::io {
namespace {

bool overlap(const Slab& a, const Slab& b) { return intersect(a, b).elements() != 0; }

std::string describe(const Slab& slab) { return "offset " + slab.offset.str() + " count " + slab.count.str(); }

/// Finds two slabs that share an element.  A set that can be cut in two along some axis is cut there and each half
/// looked at alone; what cannot be cut is compared pair by pair.
class OverlapSearch {
 public:
  explicit OverlapSearch(std::span<const Slab> slabs) : slabs_(slabs) {}

  std::string run() {
    std::vector<int> all(slabs_.size());
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
    return search(all, 0);
  }

 private:
  static constexpr int kMaxDepth = 32;
  static constexpr std::size_t kMaxPairwise = 2048;

  const Slab& slab(int i) const { return slabs_[static_cast<std::size_t>(i)]; }

  std::string search(std::vector<int>& set, int depth) {
    if (set.size() < 2) return "";
    const int rank = slab(set[0]).count.rank();
    for (int axis = 0; axis < rank && depth < kMaxDepth; ++axis) {
      std::sort(set.begin(), set.end(), [&](int a, int b) { return slab(a).offset[axis] < slab(b).offset[axis]; });
      std::vector<std::vector<int>> parts;
      std::int64_t end = -1;
      for (int i : set) {
        if (slab(i).offset[axis] >= end) parts.emplace_back();
        parts.back().push_back(i);
        end = std::max(end, slab(i).offset[axis] + slab(i).count[axis]);
      }
      if (parts.size() == 1) continue;
      for (auto& part : parts)
        if (std::string problem = search(part, depth + 1); !problem.empty()) return problem;
      return "";
    }
    if (set.size() > kMaxPairwise) return "its slabs are laid out too irregularly to be checked";
    for (std::size_t i = 0; i < set.size(); ++i)
      for (std::size_t j = i + 1; j < set.size(); ++j)
        if (overlap(slab(set[i]), slab(set[j])))
          return "two slabs overlap: " + describe(slab(set[i])) + " and " + describe(slab(set[j]));
    return "";
  }

  std::span<const Slab> slabs_;
};

}  // namespace

Slab row_slice(const Slab& slab, int i, int n) {
  if (n < 1 || i < 0 || i >= n) throw BugError("row slice {} of {}", i, n);
  Slab part = slab;
  if (slab.count.rank() == 0) {
    // One value cannot be cut; members after the first get an empty vector instead.
    if (i > 0) part.offset = part.count = Shape{0};
    return part;
  }
  const std::int64_t rows = slab.count[0];
  const std::int64_t begin = i * rows / n, end = (i + 1) * rows / n;
  part.offset[0] += begin;
  part.count[0] = end - begin;
  return part;
}

Slab intersect(const Slab& a, const Slab& b) {
  if (a.count.rank() != b.count.rank())
    throw BugError("slabs of different ranks: {} and {}", a.count.str(), b.count.str());
  Slab common = a;
  for (int i = 0; i < a.count.rank(); ++i) {
    common.offset[i] = std::max(a.offset[i], b.offset[i]);
    common.count[i] =
        std::max<std::int64_t>(0, std::min(a.offset[i] + a.count[i], b.offset[i] + b.count[i]) - common.offset[i]);
  }
  return common;
}

std::string coverage_problem(const Shape& shape, std::span<const Slab> slabs) {
  for (const Slab& s : slabs) {
    if (s.offset.rank() != shape.rank() || s.count.rank() != shape.rank())
      return "a slab has another rank than the tensor " + shape.str();
    for (int i = 0; i < shape.rank(); ++i)
      if (s.offset[i] < 0 || s.count[i] < 1 || s.offset[i] > shape[i] || s.count[i] > shape[i] - s.offset[i])
        return "a slab leaves the tensor " + shape.str() + ": " + describe(s);
  }
  if (shape.rank() == 0 && slabs.size() > 1) return "two slabs overlap: a single value is there twice";
  if (std::string problem = OverlapSearch(slabs).run(); !problem.empty()) return problem;
  // Disjoint and inside: the volumes cannot add up to more than the tensor's.
  std::int64_t covered = 0;
  for (const Slab& s : slabs) covered += s.elements();
  if (covered != shape.count())
    return "its slabs leave a gap: " + std::to_string(covered) + " of " + std::to_string(shape.count()) +
           " values are there";
  return "";
}

void for_each_part(const Slab& slab, std::int64_t limit, const std::function<void(const Slab&)>& use) {
  if (slab.elements() == 0) return;
  // The first axis that is not a single index is the one to cut.
  int axis = 0;
  while (axis < slab.count.rank() && slab.count[axis] == 1) ++axis;
  if (slab.elements() <= limit || axis == slab.count.rank()) return use(slab);
  const std::int64_t step = std::max<std::int64_t>(1, limit / (slab.elements() / slab.count[axis]));
  for (std::int64_t at = 0; at < slab.count[axis]; at += step) {
    Slab part = slab;
    part.offset[axis] += at;
    part.count[axis] = std::min(step, slab.count[axis] - at);
    for_each_part(part, limit, use);
  }
}

std::int64_t copy_overlap(const Slab& from_slab, ConstView from, const Slab& to_slab, View to) {
  const Slab common = intersect(from_slab, to_slab);
  if (common.elements() == 0) return 0;
  const std::size_t width = size_of(from.dtype);
  const int rank = common.count.rank();
  std::int64_t first = 0;
  for (int i = 1; i < rank; ++i) first = first * to.shape[i] + (common.offset[i] - to_slab.offset[i]);
  if (rank > 0) first += (common.offset[0] - to_slab.offset[0]) * to.row_stride;
  std::byte* const target = to.data + static_cast<std::size_t>(first) * width;
  for_each_run(common.count, to.shape, to.row_stride, [&](const Shape& at, std::int64_t element, std::int64_t run) {
    std::int64_t source = 0;
    for (int i = 0; i < rank; ++i)
      source = source * from_slab.count[i] + (common.offset[i] - from_slab.offset[i] + at[i]);
    std::memcpy(target + static_cast<std::size_t>(element) * width,
                from.data + static_cast<std::size_t>(source) * width, static_cast<std::size_t>(run) * width);
  });
  return common.elements();
}

}  // namespace banyan::io
