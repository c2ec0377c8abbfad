// Matrix products beyond the list of operations: narrow weights against the CPU backend, and the table of algorithms.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "tests/cuda_host/emulation.hpp"
#include "tests/cuda_host/small_backend.hpp"
#include "tests/kernels/op_cases.hpp"

namespace banyan::kernels::test {
namespace {

using std::int64_t;

SmallCudaBackend& gpu() {
  static SmallCudaBackend b;
  return b;
}
Backend& cpu() {
  static const std::unique_ptr<Backend> b = make_cpu_backend({.threads = 1, .max_isa = ""});
  return *b;
}

std::vector<float> values(int64_t count, std::uint64_t seed) {
  std::vector<float> v(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(rng::mix(seed, i) % 20001) / 10000.0f - 1.0f;
  return v;
}

/// A tensor on both sides; the bytes behind `shift` bytes, so that it is not aligned when the shift is not.
class Twin {
 public:
  Twin(DType dtype, Shape shape, int64_t row_stride, const void* data = nullptr, std::size_t shift = 0)
      : bytes_(static_cast<std::size_t>(shape[0] * row_stride) * size_of(dtype)),
        host_(bytes_, std::byte{0x55}),
        memory_(gpu().allocate(bytes_ + shift)) {
    if (data) std::memcpy(host_.data(), data, bytes_);
    on_cpu = View(host_.data(), dtype, shape);
    on_gpu = View(static_cast<std::byte*>(memory_) + shift, dtype, shape, MemoryKind::kDevice);
    on_cpu.row_stride = on_gpu.row_stride = row_stride;
    gpu().copy({}, flat(), View(host_.data(), DType::kU8, {bytes()}));
    gpu().synchronize({});  // another backend has a stream of its own
  }
  ~Twin() { gpu().release(memory_, bytes_); }
  Twin(const Twin&) = delete;
  Twin& operator=(const Twin&) = delete;
  const std::vector<std::byte>& host() const { return host_; }
  std::vector<std::byte> device() const {
    std::vector<std::byte> out(bytes_);
    gpu().copy({}, View(out.data(), DType::kU8, {bytes()}), flat());
    gpu().synchronize({});
    return out;
  }
  View on_cpu, on_gpu;

 private:
  int64_t bytes() const { return static_cast<int64_t>(bytes_); }
  View flat() const { return View(on_gpu.data, DType::kU8, {bytes()}, MemoryKind::kDevice); }
  std::size_t bytes_;
  std::vector<std::byte> host_;
  void* memory_;
};

int64_t stride_of(DType dtype, int64_t columns) {
  return narrow_row_bytes(dtype, columns) / static_cast<int64_t>(size_of(dtype));
}

TEST(CudaOnHostProducts, ComesBackFromBf16AsTheCpuDoesToTheBit) {
  emu::reset();
  for (const int64_t count : {1, 255, 256, 257, 5000}) {
    const std::vector<float> wide = values(count, 4);
    const Twin in(DType::kF32, {1, count}, count, wide.data());
    const Twin half(DType::kBF16, {1, count}, count), out(DType::kF32, {1, count}, count);
    gpu().narrow({}, half.on_gpu, in.on_gpu);
    cpu().narrow({}, half.on_cpu, in.on_cpu);
    gpu().from_bf16({}, out.on_gpu.reshaped({count}), half.on_gpu.reshaped({count}));
    cpu().from_bf16({}, out.on_cpu.reshaped({count}), half.on_cpu.reshaped({count}));
    EXPECT_EQ(out.device(), out.host()) << count;
  }
}

TEST(CudaOnHostProducts, NarrowsAndLooksUpAsTheCpuDoesToTheBit) {
  emu::reset();
  for (const DType dtype : {DType::kBF16, DType::kI8})
    for (const int64_t columns : {1, 7, 64, 65, 200}) {
      std::vector<float> wide = values(9 * columns, 3);
      for (int64_t c = 0; c < columns; ++c) wide[static_cast<std::size_t>(2 * columns + c)] = 0;
      const Twin in(DType::kF32, {9, columns}, columns, wide.data());
      const Twin out(dtype, {9, columns}, stride_of(dtype, columns));
      cpu().narrow({}, out.on_cpu, in.on_cpu);
      gpu().narrow({}, out.on_gpu, in.on_gpu);
      std::vector<std::byte> on_cpu = out.host(), on_gpu = out.device();
      if (dtype == DType::kI8)  // what pads the integers is nobody's, but zero here
        for (int64_t r = 0; r < 9; ++r)
          for (int64_t c = columns; c % 4; ++c) {
            const auto at = static_cast<std::size_t>(r * out.on_cpu.row_stride + c);
            EXPECT_EQ(on_gpu[at], std::byte{0});
            on_cpu[at] = std::byte{0};
          }
      EXPECT_EQ(on_gpu, on_cpu) << name_of(dtype) << " " << columns;
      const std::vector<std::int32_t> rows{4, 5, 13, 14, 7};
      const Twin tokens(DType::kI32, {5}, 1, rows.data());
      const Twin found(DType::kF32, {5, columns}, columns);
      cpu().embedding_forward({}, found.on_cpu, tokens.on_cpu, out.on_cpu, 5);
      gpu().embedding_forward({}, found.on_gpu, tokens.on_gpu, out.on_gpu, 5);
      EXPECT_EQ(found.device(), found.host()) << name_of(dtype) << " " << columns;
    }
  EXPECT_EQ(emu::reports(), "");
}

TEST(CudaOnHostProducts, MultipliesNarrowWeightsAsTheCpuDoes) {
  emu::reset();
  for (const DType dtype : {DType::kBF16, DType::kI8})
    for (const int64_t K : {0, 1, 64, 83, 132})
      for (const int64_t M : {1, 3, 8, 11})
        for (const bool with_bias : {false, true}) {
          const int64_t N = K == 64 ? 8 : 25;
          const std::size_t shift = K == 132 ? 4 : 0;
          const Twin wide(DType::kF32, {N, K}, K, values(N * K, 11).data()), b(dtype, {N, K}, stride_of(dtype, K));
          const Twin b_shifted(dtype, {N, K}, stride_of(dtype, K), nullptr, shift);
          const Twin a(DType::kF32, {M, K}, K + 4, values(M * (K + 4), 5).data(), shift);
          const Twin bias(DType::kF32, {N}, 1, values(N, 4).data());
          const Twin c(DType::kF32, {M, N}, N + 2);
          cpu().narrow({}, b.on_cpu, wide.on_cpu);
          gpu().narrow({}, b_shifted.on_gpu, wide.on_gpu);
          cpu().gemm({}, {.c = c.on_cpu,
                          .a = a.on_cpu,
                          .b = b.on_cpu,
                          .transpose_b = true,
                          .bias = with_bias ? ConstView(bias.on_cpu) : ConstView()});
          gpu().gemm({}, {.c = c.on_gpu,
                          .a = a.on_gpu,
                          .b = b_shifted.on_gpu,
                          .transpose_b = true,
                          .bias = with_bias ? ConstView(bias.on_gpu) : ConstView()});
          const std::vector<std::byte> got = c.device();
          for (int64_t m = 0; m < M; ++m)
            for (int64_t n = 0; n < N + 2; ++n) {
              const auto i = static_cast<std::size_t>(m * (N + 2) + n);
              float on_gpu, on_cpu;
              std::memcpy(&on_gpu, got.data() + i * 4, 4);
              std::memcpy(&on_cpu, c.host().data() + i * 4, 4);
              if (n >= N)
                ASSERT_EQ(on_gpu, on_cpu) << "between the rows";
              else
                ASSERT_NEAR(on_gpu, on_cpu, 1e-6 * static_cast<double>(K + 1))
                    << name_of(dtype) << " " << M << "x" << N << "x" << K;
            }
        }
  EXPECT_EQ(emu::reports(), "");
}

/// One product of [M, 24] and [24, 16] by a backend of its own.
class Multiplier {
 public:
  explicit Multiplier(int64_t M)
      : a_(DType::kF32, {M, 24}, 24, values(M * 24, 1).data()),
        b_(DType::kF32, {24, 16}, 16, values(24 * 16, 2).data()),
        c_(DType::kF32, {M, 16}, 16) {}
  std::vector<std::byte> run(SmallCudaBackend& backend) {
    backend.gemm({}, {.c = c_.on_gpu, .a = a_.on_gpu, .b = b_.on_gpu, .bias = {}});
    backend.synchronize({});
    return c_.device();
  }

 private:
  Twin a_, b_, c_;
};

TEST(CudaOnHostProducts, AnotherProcessRecallsTheAlgorithms) {
  emu::reset();
  Multiplier one(40), other(41);
  SmallCudaBackend first, second;
  const std::vector<std::byte> want = one.run(first);
  const std::string table = first.products().table();
  EXPECT_NE(table.find("\n40 16 24 "), std::string::npos) << table;
  EXPECT_TRUE(second.products().recall(table));
  EXPECT_EQ(second.products().table(), table);
  EXPECT_EQ(one.run(second), want);
  EXPECT_EQ(second.products().table(), table);
  other.run(second);
  EXPECT_NE(second.products().table(), table) << "a shape that the table does not have";
  EXPECT_EQ(emu::reports(), "");
}

TEST(CudaOnHostProducts, RecallsNothingThatCuBlasLtDoesNotAccept) {
  emu::reset();
  Multiplier one(40);
  SmallCudaBackend first, second, third;
  const std::vector<std::byte> want = one.run(first);
  std::string table = first.products().table();
  const std::string another_gpu = "x" + table;
  EXPECT_FALSE(second.products().recall(another_gpu));
  EXPECT_FALSE(second.products().recall(""));
  EXPECT_EQ(second.products().table().find("\n40 "), std::string::npos);
  // Bits that no algorithm has: it is refused, and chosen again.
  table.replace(table.find("62616e79"), 8, "62616e78");
  EXPECT_TRUE(third.products().recall(table));
  EXPECT_EQ(one.run(third), want);
  EXPECT_EQ(third.products().table(), first.products().table());
  EXPECT_EQ(emu::reports(), "");
}

/// How many shapes of the table have each epilogue.
std::map<int, int> epilogues(SmallCudaBackend& backend) {
  std::map<int, int> count;
  std::istringstream lines(backend.products().table());
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    int m, n, k, options;
    words >> m >> n >> k >> options;
    ++count[options >> 4];
  }
  return count;
}

TEST(CudaOnHostProducts, EpiloguesAreUsedWhereCuBlasLtHasThem) {
  using Counts = std::map<int, int>;
  emu::reset();
  for (const bool there : {true, false}) {
    emu::set_epilogues(there);
    SmallCudaBackend narrow, wide;
    for (const OpCase& c : {gemm_gelu(37, 40, 64, true), gemm_gelu(37, 40, 64, false), gemm_gelu_backward(37, 40, 64),
                            gemm_bias_backward(64, 37, 40)}) {
      EXPECT_EQ(problems_on_device(narrow, in_bf16(c)), "") << c.name();
      EXPECT_EQ(problems_on_device(wide, c), "") << c.name();
    }
    // GELU of fp32 is never cuBLASLt's.  Each case runs aligned and not.
    EXPECT_EQ(epilogues(narrow), there ? (Counts{{1, 4}, {2, 2}, {3, 2}}) : (Counts{{0, 8}}));
    EXPECT_EQ(epilogues(wide), there ? (Counts{{0, 6}, {3, 2}}) : (Counts{{0, 8}}));
    // Rows of an odd length cannot lie beside a product.
    EXPECT_EQ(problems_on_device(narrow, in_bf16(gemm_gelu(5, 33, 16, true))), "");
    EXPECT_EQ(epilogues(narrow)[1], there ? 4 : 0);
  }
  emu::set_epilogues(true);
  EXPECT_EQ(emu::reports(), "");
}

TEST(CudaOnHostProducts, WhatLiesBesideIsPartOfTheShape) {
  emu::reset();
  SmallCudaBackend backend;
  const Twin a(DType::kBF16, {8, 16}, 16), b(DType::kBF16, {24, 16}, 16), active(DType::kBF16, {8, 24}, 24);
  const Twin aligned(DType::kBF16, {8, 24}, 24), shifted(DType::kBF16, {8, 24}, 24, nullptr, 2);
  const Twin wide(DType::kBF16, {8, 24}, 32);
  for (const Twin* c : {&aligned, &shifted, &wide})
    backend.gemm_gelu({}, {.c = c->on_gpu, .a = a.on_gpu, .b = b.on_gpu, .transpose_b = true, .bias = {}},
                      active.on_gpu);
  backend.synchronize({});
  EXPECT_EQ(epilogues(backend), (std::map<int, int>{{1, 3}}));
  EXPECT_EQ(emu::reports(), "");
}

TEST(CudaOnHostProducts, ManyNumbersAreWorthOneWait) {
  emu::reset();
  const std::vector<float> ones(4, 1.0f);
  const Twin x(DType::kF32, {1, 4}, 4, ones.data());
  const auto ask = [&](std::size_t count) {
    std::vector<Number> numbers;
    for (std::size_t i = 0; i < count; ++i)
      numbers.push_back(gpu().sum({}, x.on_gpu.reshaped({4}).rows(0, static_cast<int64_t>(i % 5))));
    return numbers;
  };
  const std::uint64_t before = emu::event_waits();
  const std::vector<Number> few = ask(12);
  EXPECT_EQ(emu::event_waits(), before);
  gpu().synchronize({});
  EXPECT_LE(emu::event_waits(), before + 1);
  const std::vector<Number> many = ask(40);  // more than there is room for
  gpu().synchronize({});
  for (const std::vector<Number>* numbers : {&few, &many})
    for (std::size_t i = 0; i < numbers->size(); ++i) ASSERT_EQ(*(*numbers)[i], static_cast<double>(i % 5)) << i;
  EXPECT_EQ(emu::reports(), "");
}

TEST(CudaOnHostProducts, RefusesWhatIsNoTable) {
  SmallCudaBackend backend;
  const std::string header = backend.products().table();
  for (const char* line : {"40 16", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 ; 1 1 1 1 1 1 1 1", "x", ""}) {
    try {
      backend.products().recall(header + line + "\n");
      FAIL() << line;
    } catch (const ConfigError& e) {
      EXPECT_NE(std::string(e.what()).find("line 2"), std::string::npos) << e.what();
    }
  }
}

}  // namespace
}  // namespace banyan::kernels::test
