// Faults of the network and of other ranks, on ranks that are threads.
#include <gtest/gtest.h>

#include <mutex>
#include <stdexcept>

#include "comm/loopback/run_loopback.hpp"
#include "src/base/error.hpp"
#include "tests/comm/fault_cases.hpp"

namespace banyan::comm {
namespace {

// Empty when all ranks end as the case wants.
std::string run(const FaultCase& fault, int ranks) {
  std::mutex mutex;
  std::vector<std::string> errors;
  const auto body = [&](World& world) {
    const std::string error = run_among_faults(world, fault);
    if (!(fault.one_dies && world.rank() == 1)) {
      const std::lock_guard lock(mutex);
      errors.push_back(error);
    }
    if (!error.empty()) throw CommError("{}", error);  // tells the others
  };
  try {
    run_loopback_wrapped(
        ranks,
        [&](std::unique_ptr<Transport> t) { return std::make_unique<FaultyTransport>(std::move(t), fault.faults); },
        body);
  } catch (const CommError&) {  // that of the first rank
  } catch (const RankDied&) {
  }
  return judge(fault, errors);
}

class Fault : public testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(Fault, EndsAsItShould) {
  const auto [index, ranks] = GetParam();
  const FaultCase& fault = fault_cases()[static_cast<std::size_t>(index)];
  if (fault.one_dies) GTEST_SKIP() << "a thread cannot be killed; see DeathWithAWord and DeathInSilence";
  EXPECT_EQ(run(fault, ranks), "");
}

INSTANTIATE_TEST_SUITE_P(Loopback, Fault,
                         testing::Combine(testing::Range(0, static_cast<int>(fault_cases().size())),
                                          testing::Values(2, 3, 4)),
                         [](const auto& which) {
                           return fault_cases()[static_cast<std::size_t>(std::get<0>(which.param))].name + "On" +
                                  std::to_string(std::get<1>(which.param));
                         });

TEST(Fault, DeathWithAWord) {
  for (int when : {0, 700})
    EXPECT_EQ(run({.name = "Death",
                   .faults = {.rank = 1, .die_at = when, .death = Faults::Death::kException},
                   .error = "rank 1 on n0 failed: the rank died, as its test wants it",
                   .one_dies = true},
                  4),
              "");
}

TEST(Fault, DeathInSilence) {
  for (int when : {0, 700})
    EXPECT_EQ(run({.name = "Death",
                   .faults = {.rank = 1, .die_at = when, .death = Faults::Death::kSilence},
                   .error = "no answer from rank [0-9] on n0 for 2.0 s while waiting for ",
                   .one_dies = true},
                  4),
              "");
}

TEST(Fault, DamageWithoutChecksumsIsNotNoticed) {
  // What the checksums are for: the same fault trains on with a wrong value.
  EXPECT_THROW(run({.name = "Corrupt", .faults = {.rank = 1, .corrupt = 0}, .error = {}}, 2), std::runtime_error);
}

TEST(FaultyTransport, TheSameFaultTwiceIsTheSame) {
  const FaultCase fault{.name = "Corrupt", .faults = {.rank = 1, .corrupt = 40}, .checksum = true, .error = "rank 1"};
  std::vector<std::string> first, second;
  for (auto* errors : {&first, &second}) {
    std::mutex mutex;
    try {
      run_loopback_wrapped(
          2,
          [&](std::unique_ptr<Transport> t) { return std::make_unique<FaultyTransport>(std::move(t), fault.faults); },
          [&](World& world) {
            const std::string error = run_among_faults(world, fault);
            const std::lock_guard lock(mutex);
            if (world.rank() == 0) errors->push_back(error);
            if (!error.empty()) throw CommError("{}", error);
          });
    } catch (const CommError&) {
    }
  }
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first, second);  // the message tells both checksums
}

}  // namespace
}  // namespace banyan::comm
