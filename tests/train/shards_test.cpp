#include "src/train/shards.hpp"

#include <gtest/gtest.h>

#include <numeric>

namespace banyan::train {
namespace {

/// Parameters of the given shapes and parts in two arenas of their own; values count up.
struct Arenas {
  std::vector<model::LocalParam> params;
  std::vector<float> values, grads;

  Arenas(const std::vector<std::pair<Shape, int>>& list) {
    std::int64_t at = 0;
    for (const auto& [shape, part] : list) {
      model::LocalParam p;
      p.count = shape;
      p.part = part;
      p.begin = at;
      params.push_back(p);
      at += (shape.count() + 15) / 16 * 16;
    }
    values.resize(static_cast<std::size_t>(at));
    std::iota(values.begin(), values.end(), 0.0f);
    grads = values;
    for (model::LocalParam& p : params) {
      p.param = View(values.data() + p.begin, p.count);
      p.grad = View(grads.data() + p.begin, p.count);
    }
  }
};

TEST(OwnedRows, CoverEveryRowOnce) {
  for (std::int64_t rows : {0, 1, 3, 4, 7, 64})
    for (int ranks : {1, 2, 3, 5, 8}) {
      std::int64_t next = 0;
      for (int r = 0; r < ranks; ++r) {
        const model::Range own = owned_rows(rows, r, ranks);
        EXPECT_EQ(own.begin, next);
        next = own.end;
      }
      EXPECT_EQ(next, rows);
    }
}

TEST(Buckets, HoldThePartsOfTheArenaInOrder) {
  const Arenas a({{Shape{4, 3}, 0}, {Shape{5}, 0}, {Shape{2, 2}, 1}});
  const std::vector<Bucket> b = make_buckets(a.params, 2, 2);
  ASSERT_EQ(b.size(), 2u);
  EXPECT_EQ(b[0].params, (std::vector<int>{0, 1}));
  EXPECT_EQ(b[0].begin, 0);
  EXPECT_EQ(b[0].end, 21);
  EXPECT_EQ(b[0].counts, (std::vector<std::int64_t>{6 + 2, 6 + 3}));
  EXPECT_EQ(b[0].elements(), 17);
  EXPECT_EQ(b[1].params, (std::vector<int>{2}));
  EXPECT_EQ(b[1].counts, (std::vector<std::int64_t>{2, 2}));
}

TEST(Buckets, MayLeaveARankWithoutRows) {
  const Arenas a({{Shape{1, 8}, 0}});
  EXPECT_EQ(make_buckets(a.params, 1, 3)[0].counts, (std::vector<std::int64_t>{0, 0, 8}));
}

}  // namespace
}  // namespace banyan::train
