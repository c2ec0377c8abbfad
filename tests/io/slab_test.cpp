#include "io/slab.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace banyan::io {
namespace {

/// Cuts a box at random into disjoint boxes.
void cut(const Slab& slab, std::mt19937& random, int depth, std::vector<Slab>& out) {
  std::vector<int> axes;
  for (int i = 0; i < slab.count.rank(); ++i)
    if (slab.count[i] > 1) axes.push_back(i);
  if (depth == 0 || axes.empty() || random() % 5 == 0) return out.push_back(slab);
  const int axis = axes[random() % axes.size()];
  const std::int64_t at = 1 + static_cast<std::int64_t>(random() % static_cast<unsigned>(slab.count[axis] - 1));
  Slab low = slab, high = slab;
  low.count[axis] = at;
  high.offset[axis] += at;
  high.count[axis] -= at;
  cut(low, random, depth - 1, out);
  cut(high, random, depth - 1, out);
}

TEST(Slab, RowSlicesCoverOnceInOrder) {
  for (std::int64_t rows : {1, 2, 5, 7, 64})
    for (int n : {1, 2, 3, 8}) {
      const Slab slab{{10, 3}, {rows, 4}};
      std::int64_t next = 10;
      for (int i = 0; i < n; ++i) {
        const Slab part = row_slice(slab, i, n);
        EXPECT_EQ(part.offset[0], next);
        EXPECT_EQ(part.offset[0], 10 + i * rows / n);
        EXPECT_EQ(part.offset[1], 3);
        EXPECT_EQ(part.count[1], 4);
        next += part.count[0];
      }
      EXPECT_EQ(next, 10 + rows);
    }
  EXPECT_EQ(row_slice({{}, {}}, 0, 3).elements(), 1);
  EXPECT_EQ(row_slice({{}, {}}, 1, 3).elements(), 0);
}

TEST(Slab, Intersect) {
  EXPECT_EQ(intersect({{0, 0}, {4, 4}}, {{2, 1}, {4, 2}}), (Slab{{2, 1}, {2, 2}}));
  EXPECT_EQ(intersect({{0}, {4}}, {{4}, {2}}).elements(), 0);
  EXPECT_EQ(intersect({{}, {}}, {{}, {}}).elements(), 1);
}

TEST(Slab, RandomCutsCover) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    Shape shape;
    const int rank = static_cast<int>(random() % 4);
    for (int i = 0; i < rank; ++i) shape.push_back(1 + static_cast<std::int64_t>(random() % 9));
    Slab all{shape, shape};
    for (int i = 0; i < rank; ++i) all.offset[i] = 0;
    std::vector<Slab> parts;
    cut(all, random, 6, parts);
    std::shuffle(parts.begin(), parts.end(), random);
    ASSERT_EQ(coverage_problem(shape, parts), "");
    // One missing, one twice.
    std::vector<Slab> gap(parts.begin() + 1, parts.end());
    EXPECT_NE(coverage_problem(shape, gap).find("gap"), std::string::npos);
    std::vector<Slab> twice = parts;
    twice.push_back(parts[random() % parts.size()]);
    EXPECT_NE(coverage_problem(shape, twice).find("overlap"), std::string::npos);
  }
}

TEST(Slab, PinwheelIsAccepted) {  // five boxes that no straight cut separates
  const std::vector<Slab> parts{
      {{0, 0}, {1, 2}}, {{0, 2}, {2, 1}}, {{2, 1}, {1, 2}}, {{1, 0}, {2, 1}}, {{1, 1}, {1, 1}}};
  EXPECT_EQ(coverage_problem({3, 3}, parts), "");
}

TEST(Slab, HostileCoverageIsCheap) {
  // Staggered bars: no straight cut separates them, far too many for pairs.
  std::vector<Slab> bars;
  for (std::int64_t i = 0; i < 50000; ++i) bars.push_back({{i, 0}, {2, 1}});
  EXPECT_NE(coverage_problem({100000, 4}, bars), "");
  // A staircase that is cut one box at a time.
  std::vector<Slab> stairs;
  for (std::int64_t i = 0; i < 20000; ++i) stairs.push_back({{i, i}, {1, 20000 - i}});
  EXPECT_NE(coverage_problem({20000, 20000}, stairs), "");
  const std::int64_t huge = std::int64_t{1} << 61;
  EXPECT_NE(coverage_problem({huge}, std::vector<Slab>{{{huge - 1}, {2}}}), "");
  EXPECT_NE(coverage_problem({huge}, std::vector<Slab>{{{-1}, {2}}}), "");
  EXPECT_NE(coverage_problem({huge}, std::vector<Slab>{{{1}, {INT64_MAX}}}), "");
  EXPECT_EQ(coverage_problem({huge}, std::vector<Slab>{{{0}, {huge}}}), "");
}

TEST(Slab, PartsAreRowMajorAndBounded) {
  const Slab slab{{1, 2, 3}, {3, 4, 5}};
  for (std::int64_t limit : {1, 2, 5, 7, 20, 21, 59, 60, 100}) {
    std::int64_t next = 0;
    for_each_part(slab, limit, [&](const Slab& part) {
      EXPECT_LE(part.elements(), limit);
      const std::int64_t first = ((part.offset[0] - 1) * 4 + (part.offset[1] - 2)) * 5 + (part.offset[2] - 3);
      EXPECT_EQ(first, next);
      next += part.elements();
    });
    EXPECT_EQ(next, 60);
  }
}

TEST(Slab, CopyOverlapMovesEveryElementOnce) {
  std::mt19937 random(2);
  for (int round = 0; round < 200; ++round) {
    const Shape shape{7, 6};
    std::vector<Slab> from, to;
    cut({{0, 0}, shape}, random, 4, from);
    cut({{0, 0}, shape}, random, 4, to);
    std::vector<float> result(42, -1.0f);
    const View whole(result.data(), shape);
    std::int64_t copied = 0;
    for (const Slab& f : from) {
      std::vector<float> values;
      for (std::int64_t r = 0; r < f.count[0]; ++r)
        for (std::int64_t c = 0; c < f.count[1]; ++c)
          values.push_back(static_cast<float>((f.offset[0] + r) * 6 + f.offset[1] + c));
      for (const Slab& t : to) {
        const View target =
            whole.rows(t.offset[0], t.offset[0] + t.count[0]).columns(t.offset[1], t.offset[1] + t.count[1]);
        copied += copy_overlap(f, ConstView(values.data(), f.count), t, target);
      }
    }
    EXPECT_EQ(copied, 42);
    for (std::size_t i = 0; i < 42; ++i) ASSERT_EQ(result[i], static_cast<float>(i));
  }
}

}  // namespace
}  // namespace banyan::io
