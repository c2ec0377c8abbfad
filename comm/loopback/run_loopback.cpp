#include "comm/loopback/run_loopback.hpp"

#include <algorithm>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/loopback/loopback_lifeline.hpp"
#include "comm/loopback/loopback_transport.hpp"
#include "comm/world_base.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

class LoopbackWorld final : public WorldBase {
 public:
  LoopbackWorld(std::shared_ptr<LoopbackHub> hub, std::shared_ptr<LoopbackBoard> board, int rank, int ranks_per_node,
                const TransportWrap& wrap, std::vector<std::shared_ptr<Arena>> arenas)
      : WorldBase(wrap(std::make_unique<LoopbackTransport>(hub, rank)),
                  std::make_unique<LoopbackLifeline>(std::move(board), rank, hub->size()),
                  places(hub->size(), ranks_per_node)),
        arenas_(std::move(arenas)) {}

 protected:
  std::unique_ptr<NodeMemory> share_memory(const WorldOptions&) override {
    auto memory = std::make_unique<NodeMemory>();
    memory->own = arenas_[static_cast<std::size_t>(rank())];
    for (int r = 0; r < size(); ++r)
      memory->of.push_back(node(r) == node(rank()) ? arenas_[static_cast<std::size_t>(r)] : nullptr);
    return memory;
  }

 private:
  const std::vector<std::shared_ptr<Arena>> arenas_;

  static std::vector<Place> places(int size, int ranks_per_node) {
    std::vector<Place> result;
    for (int r = 0; r < size; ++r) {
      const int node = r / std::max(1, ranks_per_node);
      result.push_back({"n" + std::to_string(node), node});
    }
    return result;
  }
};

}  // namespace

void run_loopback(int size, const std::function<void(World&)>& body, int ranks_per_node) {
  run_loopback_wrapped(
      size, [](std::unique_ptr<Transport> t) { return t; }, body, ranks_per_node);
}

void run_loopback_wrapped(int size, const TransportWrap& wrap, const std::function<void(World&)>& body,
                          int ranks_per_node) {
  if (size < 1) throw BugError("a world of {} ranks", size);
  const auto hub = std::make_shared<LoopbackHub>(size);
  const auto board = std::make_shared<LoopbackBoard>();
  std::vector<std::shared_ptr<Arena>> arenas;
  for (int r = 0; r < size; ++r) arenas.push_back(Arena::anonymous());
  std::mutex mutex;
  std::exception_ptr first;
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r)
    threads.emplace_back([&, r] {
      LoopbackWorld world(hub, board, r, ranks_per_node, wrap, arenas);
      const auto leave = [&](int code, const std::string& message) {
        {
          const std::lock_guard lock(mutex);
          if (!first) first = std::current_exception();
        }
        world.announce_failure(code, message);
      };
      try {
        body(world);
      } catch (const Error& e) {
        leave(static_cast<int>(e.code()), e.what());
      } catch (const std::exception& e) {
        leave(static_cast<int>(ExitCode::kBug), e.what());
      } catch (...) {
        leave(static_cast<int>(ExitCode::kBug), "an exception of unknown type");
      }
    });
  for (std::thread& t : threads) t.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace banyan::comm
