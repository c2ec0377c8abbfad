// The transport cases on ranks that are threads.
#include "tests/comm/transport_conformance.hpp"

#include <gtest/gtest.h>

#include <mutex>
#include <thread>

#include "comm/loopback/loopback_transport.hpp"
#include "src/base/process_memory.hpp"

namespace banyan::comm {
namespace {

void run_on_threads(int ranks, const std::function<void(Caller&)>& body) {
  const auto hub = std::make_shared<LoopbackHub>(ranks);
  std::mutex mutex;
  std::string first_error;
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r)
    threads.emplace_back([&, r] {
      try {
        LoopbackTransport transport(hub, r);
        Caller caller(transport);
        body(caller);
      } catch (const std::exception& e) {
        const std::lock_guard lock(mutex);
        if (first_error.empty()) first_error = e.what();
      }
    });
  for (std::thread& t : threads) t.join();
  if (!first_error.empty()) FAIL() << first_error;
}

class LoopbackTransportCases : public testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(LoopbackTransportCases, Hold) {
  const auto [index, ranks] = GetParam();
  run_on_threads(ranks, transport_cases()[static_cast<std::size_t>(index)].body);
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
  run_on_threads(2, largest_message);
}

TEST(LoopbackTransport, GoesOnWithoutTheDead) {
  struct Death {};
  for (int ranks : {3, 5})
    run_on_threads(ranks, [](Caller& c) {
      try {
        peer_death(c, [] { throw Death{}; });
      } catch (const Death&) {
      }
    });
}

}  // namespace
}  // namespace banyan::comm
