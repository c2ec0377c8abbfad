#include "src/model/params.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "src/base/error.hpp"
#include "tests/model/testing.hpp"

namespace banyan::model {
namespace {

TEST(Params, NamesAreUniqueAndShapesPositive) {
  for (const ModelShape& shape : testing::tiny_shapes()) {
    std::set<std::string> names;
    for (const LogicalParam& p : logical_params(shape)) {
      EXPECT_TRUE(names.insert(p.name).second) << p.name;
      EXPECT_GT(p.shape.count(), 0) << p.name;
      EXPECT_EQ(p.decay, p.shape.rank() == 2) << p.name;
    }
    EXPECT_EQ(names.count("head.weight"), shape.tied ? 0u : 1u);
    EXPECT_EQ(names.count("embed.position.weight"), shape.position == Position::kLearned ? 1u : 0u);
    EXPECT_EQ(names.count("blocks.1.mlp.gate.bias"), shape.mlp == Mlp::kSwiglu && shape.bias ? 1u : 0u);
    EXPECT_EQ(names.count("norm.bias"), shape.norm == Norm::kLayer ? 1u : 0u);
  }
}

TEST(Params, SplitRangesTileTheAxisInOrder) {
  for (const std::int64_t extent : {1, 5, 37, 64, 257, 50257})
    for (const int n : {1, 2, 3, 4, 8, 32}) {
      std::int64_t at = 0;
      for (int i = 0; i < n; ++i) {
        const Range r = split_range(extent, i, n);
        EXPECT_EQ(r.begin, at);
        EXPECT_LE(r.count(), (extent + n - 1) / n);
        at = r.end;
      }
      EXPECT_EQ(at, extent);
    }
  EXPECT_EQ(split_range(50257, 3, 4).count(), 50257 - 3 * 12565);
  EXPECT_THROW(split_range(8, 2, 2), BugError);
}

TEST(Params, InitialValuesDoNotDependOnTheSlab) {
  const ModelShape shape = testing::tiny_gpt2();
  for (const LogicalParam& p : logical_params(shape)) {
    const std::int64_t rows = p.shape[0], columns = p.shape.rank() == 2 ? p.shape[1] : 1;
    std::vector<float> all(static_cast<std::size_t>(rows * columns));
    init_values(p, shape, 9, {0, rows}, {0, columns}, all.data());
    for (std::int64_t r = 0; r < rows; r += 3)
      for (std::int64_t c = 0; c < columns; c += 5) {
        const Range rr{r, std::min(rows, r + 3)}, cc{c, std::min(columns, c + 5)};
        std::vector<float> part(static_cast<std::size_t>(rr.count() * cc.count()));
        init_values(p, shape, 9, rr, cc, part.data());
        for (std::int64_t i = 0; i < rr.count(); ++i)
          for (std::int64_t j = 0; j < cc.count(); ++j)
            ASSERT_EQ(part[static_cast<std::size_t>(i * cc.count() + j)],
                      all[static_cast<std::size_t>((r + i) * columns + c + j)])
                << p.name;
      }
  }
}

TEST(Params, InitialValuesHaveTheAskedDeviation) {
  ModelShape shape = testing::tiny_gpt2();
  shape.width = 256;
  shape.init_std = 0.02;
  for (const LogicalParam& p : logical_params(shape)) {
    std::vector<float> x(static_cast<std::size_t>(p.shape.count()));
    init_values(p, shape, 1, {0, p.shape[0]}, {0, p.shape.rank() == 2 ? p.shape[1] : 1}, x.data());
    double sum = 0, squares = 0;
    for (const float v : x) sum += v, squares += double{v} * v;
    const double n = static_cast<double>(x.size());
    switch (p.init) {
      case Init::kZero:
        EXPECT_EQ(squares, 0) << p.name;
        break;
      case Init::kOne:
        EXPECT_EQ(sum, n) << p.name;
        break;
      case Init::kNormal:
        EXPECT_NEAR(std::sqrt(squares / n), 0.02, 0.02 * 0.05) << p.name;
        break;
      case Init::kNormalResidual:
        EXPECT_NEAR(std::sqrt(squares / n), 0.01, 0.01 * 0.05) << p.name;
        break;
    }
  }
}

TEST(Params, SeedAndNameChangeTheValues) {
  const ModelShape shape = testing::tiny_gpt2();
  const std::vector<LogicalParam> list = logical_params(shape);
  float a = 0, b = 0, c = 0;
  init_values(list[0], shape, 1, {0, 1}, {0, 1}, &a);
  init_values(list[0], shape, 2, {0, 1}, {0, 1}, &b);
  init_values(list[1], shape, 1, {0, 1}, {0, 1}, &c);
  EXPECT_NE(a, b);
  EXPECT_NE(a, c);
}

}  // namespace
}  // namespace banyan::model
