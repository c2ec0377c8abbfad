#include "src/train/shards.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "src/base/bf16.hpp"

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

TEST(Buckets, AnUpdateHoldsValuesAndRoundedRowsOfWhatIsSpread) {
  const auto backend = kernels::make_cpu_backend({.threads = 1, .max_isa = ""});
  for (const int ranks : {1, 2, 3}) {
    Arenas from({{Shape{4, 3}, 0}, {Shape{5}, 0}, {Shape{3, 1}, 0}}), to = from;
    std::vector<BF16> sent(20), got(20);
    std::iota(sent.begin(), sent.end(), 1.0f);
    for (auto [arenas, rounded] : {std::pair{&from, &sent}, std::pair{&to, &got}}) {
      std::int64_t at = 0;
      std::fill(arenas->values.begin(), arenas->values.end(), arenas == &from ? 7.0f : 0.0f);
      for (model::LocalParam& p : arenas->params) {
        p.param = View(arenas->values.data() + p.begin, p.count);
        if (p.count.rank() < 2) continue;
        p.spread = true;
        p.rounded = View(rounded->data() + at, p.count);
        at += p.count.count();
      }
    }
    const Bucket b = make_buckets(from.params, 1, ranks)[0];
    for (int r = 0; r < ranks; ++r) {
      const std::int64_t bytes = b.update_bytes[static_cast<std::size_t>(r)];
      EXPECT_EQ(bytes % 4, 0);
      EXPECT_LE(bytes, 4 * b.counts[static_cast<std::size_t>(r)]);
      std::vector<float> memory(static_cast<std::size_t>(bytes / 4));
      const View message(reinterpret_cast<std::byte*>(memory.data()), DType::kU8, {bytes});
      pack_update(*backend, {}, from.params, b, r, ranks, message);
      unpack_update(*backend, {}, to.params, b, r, ranks, message);
    }
    for (std::size_t i = 0; i < 15; ++i) EXPECT_EQ(got[i].bits, sent[i].bits) << i;
    const model::LocalParam &vector = to.params[1], &matrix = to.params[0];
    for (std::int64_t i = 0; i < 5; ++i) EXPECT_EQ(vector.param.as<float>()[i], 7.0f);
    for (std::int64_t i = 0; i < 12; ++i) EXPECT_EQ(matrix.param.as<float>()[i], 0.0f) << "its owner alone has that";
  }
}

}  // namespace
}  // namespace banyan::train
