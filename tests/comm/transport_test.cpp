// The transport cases on ranks that are threads.
#include "comm/transport.hpp"

#include <gtest/gtest.h>

#include "src/base/process_memory.hpp"
#include "tests/comm/run_on_threads.hpp"
#include "tests/comm/transport_conformance.hpp"

namespace banyan::comm {
namespace {

void run(int ranks, const std::function<void(Caller&)>& body) {
  run_on_threads(ranks, [&](std::unique_ptr<Transport> transport) {
    Caller caller(*transport);
    body(caller);
  });
}

class LoopbackTransportCases : public testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(LoopbackTransportCases, Hold) {
  const auto [index, ranks] = GetParam();
  run(ranks, transport_cases()[static_cast<std::size_t>(index)].body);
}

INSTANTIATE_TEST_SUITE_P(Loopback, LoopbackTransportCases,
                         testing::Combine(testing::Range(0, static_cast<int>(transport_cases().size())),
                                          testing::Values(1, 2, 4, 8)),
                         [](const auto& which) {
                           return transport_cases()[static_cast<std::size_t>(std::get<0>(which.param))].name + "On" +
                                  std::to_string(std::get<1>(which.param));
                         });

TEST(LoopbackTransport, CarriesTheLargestMessage) {
  constexpr std::int64_t kNeeded = std::int64_t{2} << 30;
  if (machine_memory() != 0 && machine_memory() < kNeeded)
    GTEST_SKIP() << "256 MiB twice is too much for a machine of " << (machine_memory() >> 20) << " MiB";
  run(2, largest_message);
}

TEST(LoopbackTransport, GoesOnWithoutTheDead) {
  struct Death {};
  for (int ranks : {3, 5})
    run(ranks, [](Caller& c) {
      try {
        peer_death(c, [] { throw Death{}; });
      } catch (const Death&) {
      }
    });
}

}  // namespace
}  // namespace banyan::comm
