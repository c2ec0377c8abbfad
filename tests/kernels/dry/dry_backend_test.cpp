#include "kernels/dry/dry_backend.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "src/base/error.hpp"

namespace banyan::kernels {
namespace {

/// 1 TFLOP/s, 0.5 in attention, 100 GB/s, and 1 us for every operation.
class Dry : public ::testing::Test {
 protected:
  Dry()
      : backend(make_dry_backend({.flops = 1e12,
                                  .attention_flops = 5e11,
                                  .memory_rate = 1e11,
                                  .start = 1e-6,
                                  .spend = [this](double seconds) { spent += seconds; }})) {}
  /// A dry matrix, given back when the test ends.
  View dry(std::int64_t rows, std::int64_t columns) {
    const std::size_t bytes = 4 * static_cast<std::size_t>(rows * columns);
    arrays.push_back({backend->allocate(bytes), bytes});
    return View(static_cast<float*>(arrays.back().first), {rows, columns});
  }
  void TearDown() override {
    for (const auto& [p, bytes] : arrays) backend->release(p, bytes);
  }

  double spent = 0;
  std::unique_ptr<Backend> backend;
  std::vector<std::pair<void*, std::size_t>> arrays;
};

TEST_F(Dry, AProductTakesItsArithmetic) {
  const View a = dry(1000, 500), b = dry(2000, 500), c = dry(1000, 2000);
  backend->gemm({}, {.c = c, .a = a, .b = b, .transpose_b = true, .bias = {}});
  EXPECT_NEAR(spent, 1e-6 + 2.0 * 1000 * 500 * 2000 / 1e12, 1e-9);
  spent = 0;
  backend->gemm({}, {.c = c, .a = dry(500, 1000), .b = b, .transpose_a = true, .transpose_b = true, .bias = {}});
  EXPECT_NEAR(spent, 1e-6 + 2.0 * 1000 * 500 * 2000 / 1e12, 1e-9);
}

TEST_F(Dry, AThinProductTakesItsMemory) {
  backend->gemm({}, {.c = dry(1, 1000), .a = dry(1, 1000), .b = dry(1000, 1000), .bias = {}});
  EXPECT_NEAR(spent, 1e-6 + 4.0 * (1000 + 1000 + 1000 * 1000) / 1e11, 1e-9);
}

TEST_F(Dry, AttentionTakesWhatTheMaskLeaves) {
  const std::array<std::int32_t, 3> offsets{0, 100, 200};
  const std::array<std::int32_t, 2> first{0, 0};
  Attention a;
  a.heads = a.kv_heads = 4;
  a.head_size = 64;
  a.q_offsets = a.kv_offsets = offsets;
  a.q_position = first;
  const View all = dry(200, 256), lse = dry(4, 200);
  backend->attention_forward({}, all, lse, all, all, all, a);
  const double forward = 4.0 * 4 * 64 * 2 * (100.0 * 101 / 2) / 5e11;
  EXPECT_NEAR(spent, 1e-6 + forward, 1e-9);
  spent = 0;
  backend->attention_backward({}, all, all, all, all, all, all, all, all, lse, a);
  EXPECT_NEAR(spent, 1e-6 + 2.5 * forward, 1e-9);
}

TEST_F(Dry, StreamsTakeTheirBytes) {
  const View x = dry(100, 100), y = dry(100, 100);
  backend->gelu_forward({}, y, x);
  EXPECT_NEAR(spent, 1e-6 + 2 * 40000 / 1e11, 1e-12);
  spent = 0;
  backend->layernorm_forward({}, y, dry(100, 1), dry(100, 1), x, dry(1, 100), {}, 1e-5f);  // without a bias
  EXPECT_NEAR(spent, 1e-6 + (2 * 40000 + 3 * 400) / 1e11, 1e-12);
}

// 64 GiB would fill most machines: nobody touches them.
TEST_F(Dry, WhatIsDryIsNeitherReadNorWritten) {
  const View x = dry(std::int64_t{1} << 17, std::int64_t{1} << 17), y = dry(4, 4);
  backend->fill_zero({}, x);
  backend->copy({}, x, x);
  std::vector<float> host(16, 3.0f);
  backend->copy({}, y, ConstView(host.data(), {4, 4}));
  backend->copy({}, View(host.data(), {4, 4}), y);
  backend->reduce({}, y, ConstView(host.data(), {4, 4}), ConstView(host.data(), {4, 4}), ReduceOp::kSum);
  EXPECT_EQ(host, std::vector<float>(16, 3.0f));
  EXPECT_EQ(y.as<float>()[5], 0.0f);  // an untouched page
  EXPECT_EQ(*backend->sum_squares({}, x), 0);
  EXPECT_TRUE(backend->all_finite({}, x));
  EXPECT_GT(spent, 3);
}

TEST_F(Dry, ArraysOfTheCallerAreTreatedAsOnTheCpu) {
  std::array<double, 3> a{1, 2, 3}, b{10, 20, 30}, c{};
  backend->reduce({}, View(c.data(), {3}), ConstView(a.data(), {3}), ConstView(b.data(), {3}), ReduceOp::kSum);
  EXPECT_EQ(c, (std::array<double, 3>{11, 22, 33}));
  backend->copy({}, View(a.data(), {3}), ConstView(c.data(), {3}));
  EXPECT_EQ(a, c);
  backend->fill_zero({}, View(a.data(), {3}));
  EXPECT_EQ(a, (std::array<double, 3>{}));
  EXPECT_NEAR(spent, 3e-6, 1e-8);
}

TEST(DryBackend, RefusesWhatNeverEnds) {
  EXPECT_THROW(make_dry_backend({.flops = 0, .attention_flops = 1, .memory_rate = 1}), ConfigError);
  EXPECT_THROW(make_dry_backend({.flops = 1, .attention_flops = -1, .memory_rate = 1}), ConfigError);
  EXPECT_THROW(make_dry_backend({.flops = 1, .attention_flops = 1, .memory_rate = 0}), ConfigError);
  const auto b = make_dry_backend({.flops = 1, .attention_flops = 1, .memory_rate = 1});
  EXPECT_THROW(b->allocate(SIZE_MAX / 2), ConfigError);
  int own = 0;
  EXPECT_THROW(b->release(&own, sizeof own), BugError);
}

}  // namespace
}  // namespace banyan::kernels
