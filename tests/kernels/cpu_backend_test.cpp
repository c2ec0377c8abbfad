#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <limits>
#include <thread>

#include "kernels/cpu/dispatch.hpp"
#include "kernels/cpu/isa.hpp"
#include "kernels/cpu/simd_math.hpp"
#include "src/base/error.hpp"
#include "src/base/signals.hpp"
#include "tests/kernels/op_cases.hpp"
#include "tests/sanitized.hpp"

namespace banyan::kernels::test {
namespace {

std::unique_ptr<Backend> one_thread() { return make_cpu_backend({.threads = 1, .max_isa = ""}); }

View matrix(std::vector<float>& memory, std::int64_t rows, std::int64_t columns) {
  memory.resize(static_cast<std::size_t>(rows * columns), 0.5f);
  return View(memory.data(), {rows, columns});
}

TEST(CpuBackend, DescribesItself) {
  const std::string text = make_cpu_backend({.threads = 2, .max_isa = ""})->describe();
  EXPECT_NE(text.find("2 threads"), std::string::npos) << text;
  EXPECT_NE(text.find("oneDNN"), std::string::npos) << text;
}

TEST(CpuBackend, MemoryIsAligned) {
  const auto b = one_thread();
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{100}, std::size_t{9} << 20}) {
    void* p = b->allocate(bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(p) % 64, 0u);
    b->release(p, bytes);
  }
}

constexpr const char* kOwnAllocator = "the allocators of sanitizers end the program where others say no";

TEST(CpuBackend, TooMuchMemoryIsAConfigErrorThatSaysHowMuch) {
  if (BANYAN_SANITIZED) GTEST_SKIP() << kOwnAllocator;
  const auto b = one_thread();
  for (const std::size_t bytes : {std::size_t{1} << 62, SIZE_MAX, SIZE_MAX - 70}) {
    try {
      b->allocate(bytes);
      FAIL() << bytes;
    } catch (const ConfigError& e) {
      EXPECT_NE(std::string(e.what()).find(std::to_string(bytes)), std::string::npos) << e.what();
    }
  }
}

TEST(CpuBackend, MemoryLimitIsAConfigError) {
  if (BANYAN_SANITIZED) GTEST_SKIP() << kOwnAllocator;
  const auto b = one_thread();
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  rlimit limited = before;
  limited.rlim_cur = rlim_t{8} << 30;
  ASSERT_EQ(setrlimit(RLIMIT_AS, &limited), 0);
  EXPECT_THROW(b->allocate(std::size_t{9} << 30), ConfigError);
  setrlimit(RLIMIT_AS, &before);
}

TEST(CpuBackend, InstructionSetsAreOrderedAndChecked) {
  EXPECT_THROW(make_cpu_backend({.threads = 1, .max_isa = "neon"}), ConfigError);
  EXPECT_THROW(make_cpu_backend({.threads = -1, .max_isa = ""}), ConfigError);
  EXPECT_LT(cpu::isa_named("avx2"), cpu::isa_named("avx512"));
  EXPECT_LT(cpu::isa_named("avx512_bf16"), cpu::isa_named("amx"));
  EXPECT_EQ(cpu_isa(), cpu::name_of(cpu::processor_isa()));
  if (cpu_isa() != "amx") {
    EXPECT_THROW(make_cpu_backend({.threads = 1, .max_isa = "amx"}), ConfigError);
  }
  EXPECT_GE(cpu::available_cores(), 1);
}

TEST(CpuBackend, TakesTheRichestKernelsThatTheJobMayUse) {
  if (cpu::processor_isa() < cpu::Isa::kAvx2) GTEST_SKIP() << "this processor has kernels of one kind only";
  const auto text = make_cpu_backend({.threads = 1, .max_isa = "avx2"})->describe();
  EXPECT_NE(text.find("kernels avx2, GEMM avx2"), std::string::npos) << text;
  EXPECT_THROW(make_cpu_backend({.threads = 1, .max_isa = "baseline"}), ConfigError);
  if (cpu::processor_isa() < cpu::Isa::kAvx512) GTEST_SKIP() << "this processor has no AVX-512";
  EXPECT_NE(one_thread()->describe().find("kernels avx512"), std::string::npos);
}

TEST(CpuBackend, VersionsAreOrdered) {
  const std::vector<cpu::Isa> isas = cpu::compiled_isas();
  ASSERT_FALSE(isas.empty());
  EXPECT_TRUE(std::is_sorted(isas.begin(), isas.end()));
  EXPECT_THROW(cpu::make_backend(cpu::Isa::kAmx, cpu::Isa::kAmx, 1), BugError);
}

TEST(CpuBackend, WrongShapesAreBugsThatNameTheArgument) {
  const auto b = one_thread();
  std::vector<float> m1, m2, m3;
  const View a = matrix(m1, 3, 4), c = matrix(m2, 3, 5), v4 = matrix(m3, 1, 4);
  const auto message = [](const std::function<void()>& call) -> std::string {
    try {
      call();
    } catch (const BugError& e) {
      return e.what();
    }
    return "no error";
  };
  Gemm g;
  g.a = a;
  g.b = a;
  g.c = c;
  EXPECT_EQ(message([&] { b->gemm({}, g); }), "gemm: b is [3, 4], not [4, 5]");
  g.transpose_b = true;
  EXPECT_EQ(message([&] { b->gemm({}, g); }), "gemm: b is [3, 4], not [5, 4]");
  EXPECT_EQ(message([&] { b->add({}, a, a, c); }), "add: b is [3, 5] (15 elements), not 12 elements");
  EXPECT_EQ(message([&] { b->gelu_forward({}, a, c.columns(0, 4)); }),
            "gelu_forward: x is strided, this operation takes contiguous elements");
  View wrong_type = a;
  wrong_type.dtype = DType::kBF16;
  EXPECT_EQ(message([&] { b->scale({}, wrong_type, 2); }), "scale: x has type bf16, this operation takes f32");
  View device = a;
  device.kind = MemoryKind::kDevice;
  EXPECT_EQ(message([&] { b->scale({}, device, 2); }), "scale: x lies in device memory, which the CPU cannot read");
  EXPECT_EQ(message([&] { b->gelu_forward({}, wrong_type, a); }),
            "gelu_forward: out has type bf16, this operation takes f32");
  View bytes = a;
  bytes.dtype = DType::kU8;
  EXPECT_EQ(message([&] { b->gelu_forward({}, bytes, bytes); }),
            "gelu_forward: x has type u8, this operation takes f32 and bf16");
  EXPECT_EQ(message([&] { b->reduce({}, bytes, bytes, bytes, ReduceOp::kSum); }),
            "reduce: there is no arithmetic for u8");
  EXPECT_EQ(message([&] { b->rmsnorm_forward({}, a, v4, a, v4, 1e-5f); }),
            "rmsnorm_forward: rstd is [1, 4] (4 elements), not 3 elements");
  const std::vector<std::int32_t> positions{0, 1, 9};
  EXPECT_EQ(message([&] { b->position_forward({}, a, ConstView(positions.data(), {3}), a); }),
            "position_forward: position holds a number outside the table");
}

TEST(CpuBackend, AttentionChecksItsDescription) {
  const auto b = one_thread();
  std::vector<float> m1, m2, m3;
  const View q = matrix(m1, 3, 8), out = matrix(m2, 3, 8), lse = matrix(m3, 1, 3);
  std::vector<std::int32_t> offsets{0, 3}, position{0}, table{7};
  Attention a;
  a.heads = a.kv_heads = 1;
  a.head_size = 8;
  a.q_offsets = a.kv_offsets = offsets;
  a.q_position = position;
  b->attention_forward({}, out, lse, q, q, q, a);
  const auto refused = [&] { EXPECT_THROW(b->attention_forward({}, out, lse, q, q, q, a), BugError); };
  offsets = {0, 4};
  refused();
  offsets = {0, 3};
  position = {-1};
  refused();
  position = {0};
  a.blocks = {table, 1, 4};  // a block outside the keys
  refused();
  a.blocks = {};
  a.dropout.p = 0.5f;  // without samples
  refused();
}

TEST(CpuBackend, MayAliasWhereTheSeamSaysSo) {
  const auto b = one_thread();
  for (const OpCase& c : {gelu_backward(5, 70), dropout(5, 70, 0.3f), add(5, 70)}) {
    const std::string input = c.op == "add" ? "b" : c.op == "dropout" ? "x" : "d_out";
    const std::string output = c.op == "gelu_backward" ? "d_x" : "out";
    Bound apart(c.tensors, c.initial()), together(c.tensors, c.initial());
    c.run(*b, apart);
    if (c.op == "add") b->add({}, together["b"], together["a"], together["b"]);
    if (c.op == "gelu_backward") b->gelu_backward({}, together["d_out"], together["d_out"], together["x"]);
    if (c.op == "dropout") {
      std::vector<std::int64_t> sample;
      std::vector<std::int32_t> position;
      for (std::int64_t r = 0; r < 5; ++r) {
        sample.push_back((r / 3 << 33) + r);
        position.push_back(static_cast<std::int32_t>(r % 3));
      }
      b->dropout({}, together["x"], together["x"], {0.3f, 99, sample, position, 0});
    }
    EXPECT_EQ(together.read(input), apart.read(output)) << c.op;
  }
}

TEST(CpuBackend, ScratchStaysWithinItsPrediction) {
#ifdef __SANITIZE_THREAD__
  const int threads = 1;  // see op_value_test.cpp
#else
  const int threads = 2;
#endif
  const auto b = make_cpu_backend({.threads = threads, .max_isa = ""});
  EXPECT_EQ(b->scratch_bytes(), 0u);
  for (const OpCase& c :
       {gemm('N', 'T', 67, 45, 129), attention_forward(whole_sequences(6, 2, 20, 1, 129)), rotary(70, 4, 20, false)}) {
    Bound t(c.tensors, c.initial());
    c.run(*b, t);
  }
  const std::vector<CpuScratchNeed::Product> gemms{{67, 45, 129}};
  EXPECT_GT(b->scratch_bytes(), 0u);
  EXPECT_LE(b->scratch_bytes(), cpu_scratch_bytes({threads, 20, 1000, gemms}));
  for (const char* t : {"NN", "NT", "TN"}) {
    const OpCase c = in_bf16(gemm(t[0], t[1], 67, 45, 129));
    Bound bound(c.tensors, c.initial());
    c.run(*b, bound);
  }
  const OpCase c = in_bf16(attention_backward(whole_sequences(6, 2, 20, 1, 129)));
  Bound bound(c.tensors, c.initial());
  c.run(*b, bound);
  EXPECT_LE(b->scratch_bytes(), cpu_scratch_bytes({threads, 20, 1000, gemms, DType::kBF16, 129}));

  const OpCase one =
      attention_forward({6, 2, 20, {1, 1, 1, 1, 1}, {30, 2000, 1, 1, 1}, {29, 1999, 0, 0, 0}, false, 16});
  Bound single(one.tensors, one.initial());
  const std::size_t before = b->scratch_bytes();
  one.run(*b, single);
  EXPECT_GT(b->scratch_bytes(), before);
  EXPECT_LE(b->scratch_bytes(), cpu_scratch_bytes({threads, 20, 1000, gemms, DType::kBF16, 129, 5, 6, 2000}));
}

TEST(SimdMath, ExponentialIsWithinTwoUlps) {
  double worst = 0;
  for (int i = -860; i <= 880; ++i)
    for (int k = 0; k < 50; ++k) {
      const float x = static_cast<float>(i) * 0.1f + static_cast<float>(k) * 0.00213f;
      const double want = std::exp(static_cast<double>(x));
      worst = std::max(worst, std::abs(static_cast<double>(cpu::exp_simd(x)) - want) / want);
    }
  EXPECT_LT(worst, 1.2e-7);
  EXPECT_EQ(cpu::exp_simd(0.0f), 1.0f);
  EXPECT_EQ(cpu::exp_simd(-std::numeric_limits<float>::infinity()), 0.0f);
  EXPECT_EQ(cpu::exp_simd(-1e30f), 0.0f);
  EXPECT_EQ(cpu::exp_simd(std::numeric_limits<float>::infinity()), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(cpu::exp_simd(std::numeric_limits<float>::quiet_NaN())));
}

// Generated GEMM code uses the stack below the stack pointer; the program's handlers must not write there.
TEST(CpuBackend, SignalsDoNotDisturbAProduct) {
  signals::install();
  const auto b = one_thread();
  std::vector<float> x, w, quiet, disturbed;
  const View a = matrix(x, 96, 512), c = matrix(w, 512, 192), want = matrix(quiet, 96, 192),
             got = matrix(disturbed, 96, 192);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 13) - 6;
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(i % 11) - 5;
  b->gemm({}, {.c = want, .a = a, .b = c, .bias = {}});
  std::atomic<bool> done{false};
  const pthread_t here = pthread_self();
  std::thread sender([&] {
    while (!done) {
      signals::reset();  // a third request would end the process
      pthread_kill(here, SIGUSR1);
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  });
  bool equal = true;
  for (int i = 0; i < 3000 && equal; ++i) {
    b->gemm({}, {.c = got, .a = a, .b = c, .bias = {}});
    equal = quiet == disturbed;
  }
  done = true;
  sender.join();
  signals::reset();
  EXPECT_TRUE(equal);
}

}  // namespace
}  // namespace banyan::kernels::test
