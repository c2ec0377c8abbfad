// The conformance cases on ranks that are threads.
#include "comm/communicator.hpp"

#include <gtest/gtest.h>

#include "tests/comm/conformance.hpp"

namespace banyan::comm {
namespace {

class Conformance : public testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(Conformance, Holds) {
  const auto [index, ranks] = GetParam();
  const ConformanceCase& c = conformance_cases()[static_cast<std::size_t>(index)];
  run_loopback(ranks, [&](World& world) {
    configure_for_test(world);
    c.body(world);
  });
}

INSTANTIATE_TEST_SUITE_P(Loopback, Conformance,
                         testing::Combine(testing::Range(0, static_cast<int>(conformance_cases().size())),
                                          testing::Values(1, 2, 3, 4, 8, 9)),
                         [](const auto& which) {
                           return conformance_cases()[static_cast<std::size_t>(std::get<0>(which.param))].name + "On" +
                                  std::to_string(std::get<1>(which.param));
                         });

TEST(Conformance, HoldsWithChecksums) {
  for (const ConformanceCase& c : conformance_cases())
    for (int ranks : {1, 2, 5})
      run_loopback(ranks, [&](World& world) {
        configure_for_test(world, Seconds{30}, /*checksum=*/true);
        c.body(world);
        // On and off again, as all ranks agree.
        configure_for_test(world);
        c.body(world);
      });
}

}  // namespace
}  // namespace banyan::comm
