#include "tests/comm/run_on_threads.hpp"

#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "comm/loopback/loopback_transport.hpp"

namespace banyan::comm {

void run_on_threads(int ranks, const std::function<void(std::unique_ptr<Transport>)>& body) {
  const auto hub = std::make_shared<LoopbackHub>(ranks);
  std::mutex mutex;
  std::exception_ptr first;
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r)
    threads.emplace_back([&, r] {
      try {
        body(std::make_unique<LoopbackTransport>(hub, r));
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!first) first = std::current_exception();
      }
    });
  for (std::thread& t : threads) t.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace banyan::comm
