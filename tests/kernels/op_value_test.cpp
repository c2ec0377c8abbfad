// Every case of the list: the backend's results against the double-precision reference, and the same to the bit when
// run again, elsewhere in memory, and with another number of threads.  All of it for every instruction set that kernels
// were compiled for and this processor has.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "kernels/cpu/dispatch.hpp"
#include "tests/kernels/op_cases.hpp"

namespace banyan::kernels::test {
namespace {

/// libgomp is not instrumented for ThreadSanitizer, which would report its hand-overs as races.
#ifdef __SANITIZE_THREAD__
constexpr int kThreads = 1;
#else
constexpr int kThreads = 2;
#endif

/// The same operations as compiled for one instruction set.
struct Version {
  std::string name;
  std::unique_ptr<Backend> one, many;  ///< with one thread, with kThreads
};

/// All versions that this processor can run.
const std::vector<Version>& versions() {
  static const std::vector<Version> all = [] {
    std::vector<Version> made;
    for (const cpu::Isa isa : cpu::compiled_isas())
      if (isa <= cpu::processor_isa())
        made.push_back({cpu::name_of(isa), cpu::make_backend(isa, cpu::processor_isa(), 1),
                        cpu::make_backend(isa, cpu::processor_isa(), kThreads)});
    const cpu::Isa least = cpu::compiled_isas().front();  // as on a processor without products of bf16
    made.push_back({"no bf16", cpu::make_backend(least, least, 1), cpu::make_backend(least, least, kThreads)});
    return made;
  }();
  return all;
}

class OpValue : public testing::TestWithParam<OpCase> {};

TEST_P(OpValue, EqualsReferenceAndRepeats) {
  const OpCase& c = GetParam();
  const Values before = c.initial();
  Values want = before;
  c.reference(want);
  for (const Version& version : versions()) {
    SCOPED_TRACE(version.name);
    Bound first(c.tensors, before), again(c.tensors, before, 3), alone(c.tensors, before);
    c.run(*version.many, first);
    c.run(*version.many, again);
    c.run(*version.one, alone);
    for (const TensorSpec& t : c.tensors) {
      if (t.role == Role::kIn) {
        EXPECT_EQ(first.bytes(t.name), Bound(c.tensors, before).bytes(t.name)) << t.name << " is an input";
        continue;
      }
      EXPECT_LE(error_of(first.read(t.name), want[t.name]), c.tolerance) << t.name;
      EXPECT_EQ(first.bytes(t.name), again.bytes(t.name))
          << t.name << " differs when computed again, at other addresses";
      if (c.op != "gemm") {  // oneDNN divides the inner extent among threads
        EXPECT_EQ(first.bytes(t.name), alone.bytes(t.name)) << t.name << " depends on the threads";
      }
    }
  }
}

std::string test_name(const testing::TestParamInfo<OpCase>& info) {
  std::string name = std::to_string(info.index) + "_" + info.param.name();
  for (char& ch : name)
    if (!std::isalnum(static_cast<unsigned char>(ch))) ch = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, OpValue, testing::ValuesIn(small_cases()), test_name);

}  // namespace
void PrintTo(const OpCase& c, std::ostream* out) { *out << c.name(); }
}  // namespace banyan::kernels::test
