// Every case of the list of operations, its kernels executed on the CPU: against the double-precision reference and the
// CPU backend, and the same to the bit when run again at other addresses.
// CUDAEMU_SEED chooses the order of threads, blocks and streams.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <string>

#include "src/base/bf16.hpp"
#include "src/base/error.hpp"
#include "tests/cuda_host/case_check.hpp"
#include "tests/cuda_host/emulation.hpp"
#include "tests/cuda_host/small_backend.hpp"
#include "tests/sanitized.hpp"

namespace banyan::kernels::test {
namespace {

/// Sanitizers make threads costly; small shapes have all the branches.
#if BANYAN_SANITIZED
constexpr std::int64_t kMostElements = 3000;
#else
constexpr std::int64_t kMostElements = 60000;
#endif
constexpr std::int64_t kMostOfSums = std::max<std::int64_t>(kMostElements, 5000);  // which several blocks add up

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  for (const OpCase& c : small_cases()) {
    std::int64_t most = 0;
    for (const TensorSpec& t : c.tensors) most = std::max(most, t.shape.count());
    const bool sums = c.op == "sum" || c.op == "sum_squares" || c.op == "all_finite";
    if (most <= (sums ? kMostOfSums : kMostElements)) list.push_back(c);
  }
  return list;
}

class CudaOnHostCases : public testing::TestWithParam<OpCase> {};

/// One for all cases, which find in its scratch what the cases before left there.
Backend& backend() {
  static SmallCudaBackend b;
  return b;
}

TEST_P(CudaOnHostCases, EqualsReferenceAndCpuAndRepeats) { expect_right(backend(), GetParam()); }

TEST(CudaOnHost, AdamWRoundsTheParameterToo) {
  for (const std::int64_t count : {5, 1024}) {
    OpCase c = adamw(count, 3);
    c.tensors.push_back({"rounded", {count}, Role::kOut, DType::kBF16, 0, {}});
    c.run = [](Backend& b, Bound& t) {
      b.adamw({}, t["param"], t["grad"], t["m"], t["v"], {1e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 3, 0.5f, t["rounded"]});
    };
    Bound tensors(c.tensors, c.initial(), 0, &backend());
    c.run(backend(), tensors);
    const std::vector<double> exact = tensors.read("param"), rounded = tensors.read("rounded");
    for (std::size_t i = 0; i < exact.size(); ++i)
      EXPECT_EQ(rounded[i], static_cast<double>(static_cast<float>(BF16(static_cast<float>(exact[i])))));
  }
}

/// A step must not wait for the device but where the host needs a number.
TEST(CudaOnHost, OnlySumsMakeTheHostWait) {
  std::map<std::string, const OpCase*> one_of_each;
  const std::vector<OpCase> all = cases();
  for (const OpCase& c : all) one_of_each[c.op] = &c;
  for (const auto& [op, c] : one_of_each) {
    Bound tensors(c->tensors, c->initial(), 0, &backend());
    const bool gives_a_number = op == "sum" || op == "sum_squares" || op == "all_finite";
    if (gives_a_number) continue;
    backend().synchronize({});
    const std::uint64_t before = emu::host_waits();
    c->run(backend(), tensors);
    EXPECT_EQ(emu::host_waits(), before) << c->name();
  }
}

/// What an operation asks of the workspace is what its kernels write to: with no byte more, nothing behind it is
/// touched.
TEST(CudaOnHost, OperationsKeepToTheWorkspaceThatTheyAskFor) {
  std::map<std::string, const OpCase*> one_of_each;
  const std::vector<OpCase> all = cases();
  for (const OpCase& c : all) one_of_each[c.op] = &c;
  int with_workspace = 0;
  for (const auto& [op, c] : one_of_each) {
    const auto with = [](std::size_t bytes) {
      return cuda::CudaOptions{.products = std::size_t{4} << 10, .workspace = bytes, .staging = std::size_t{64} << 10};
    };
    std::size_t needed = 0;
    try {
      cuda::CudaBackend none(with(1));
      Bound tensors(c->tensors, c->initial(), 0, &none);
      c->run(none, tensors);
    } catch (const ConfigError& e) {
      const std::string words = e.what();
      const auto at = words.find("needs ");
      ASSERT_NE(at, std::string::npos) << words;
      needed = std::stoul(words.substr(at + 6));
    }
    if (needed == 0) continue;
    ++with_workspace;
    cuda::CudaBackend enough(with(needed));
    expect_right(enough, *c);
  }
  EXPECT_GE(with_workspace, 6);
}

std::string test_name(const testing::TestParamInfo<OpCase>& info) {
  std::string name = std::to_string(info.index) + "_" + info.param.name();
  for (char& ch : name)
    if (!std::isalnum(static_cast<unsigned char>(ch))) ch = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, CudaOnHostCases, testing::ValuesIn(cases()), test_name);

}  // namespace
void PrintTo(const OpCase& c, std::ostream* out) { *out << c.name(); }
}  // namespace banyan::kernels::test
