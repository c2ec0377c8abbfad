#include "src/model/kv_cache.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "tests/model/testing.hpp"

namespace banyan::model {
namespace {

TEST(KvCache, RowsGoWhereTheTableSays) {
  StageSpec spec;
  TensorParallel alone(spec, nullptr, {});
  const Compute c{testing::backend(), alone, {}, {}, {}};
  std::vector<float> key(4 * 3 * 2, -1), value(key);  // 4 blocks of 3 rows of 2 channels
  const KvCache cache{View(key.data(), {12, 2}), View(value.data(), {12, 2})};

  // Sequence 0 brings rows 2, 3, 4 (blocks 3 and 1); sequence 1 row 0 (block 0).
  const std::vector<std::int32_t> offsets{0, 3, 4}, start{2, 0}, table{3, 1, 0, 2};
  Rows rows;
  rows.count = 4;
  rows.query_offsets = offsets;
  rows.query_position = start;
  rows.cache = {table, 2, 3};
  std::vector<float> fresh{10, 11, 0, 20, 21, 0, 30, 31, 0, 40, 41, 0};
  const ConstView strided = View(fresh.data(), {4, 3}).columns(0, 2);
  append(c, rows, cache, strided, strided);
  std::vector<float> expected(key.size(), -1);
  const auto put = [&](std::size_t row, float first) { expected[2 * row] = first, expected[2 * row + 1] = first + 1; };
  put(3 * 3 + 2, 10);
  put(1 * 3 + 0, 20);
  put(1 * 3 + 1, 30);
  put(0 * 3 + 0, 40);
  EXPECT_EQ(key, expected);
  EXPECT_EQ(value, expected);

  const std::vector<std::int32_t> far{4, 0};
  rows.query_position = far;  // rows 4, 5, 6: two blocks of three hold six
  EXPECT_THROW(append(c, rows, cache, strided, strided), BugError);
  const std::vector<std::int32_t> foreign{3, 4, 0, 2};
  rows.query_position = start;
  rows.cache.table = foreign;
  EXPECT_THROW(append(c, rows, cache, strided, strided), BugError);
}

}  // namespace
}  // namespace banyan::model
