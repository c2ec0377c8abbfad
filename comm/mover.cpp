#include "comm/mover.hpp"

#include <poll.h>

#include <chrono>

#include "src/base/section.hpp"

namespace banyan::comm {
namespace {

constexpr std::chrono::milliseconds kNap{2};          // woken by messages; the lifeline's affairs are others'
constexpr std::chrono::microseconds kShortNap{200};   // where nothing wakes
constexpr std::chrono::milliseconds kOutOfTheWay{1};  // while the rank's own thread looks after messages

}  // namespace

Mover::Mover(Engine& engine) : engine_(engine), thread_([this] { run(); }) {}

Mover::~Mover() {
  stop_ = true;
  engine_.wake_idle();
  thread_.join();
}

void Mover::run() noexcept {
  while (!stop_) {
    if (engine_.is_waited_in()) {
      std::this_thread::sleep_for(kOutOfTheWay);
      continue;
    }
    const Engine::Look look = engine_.move();
    switch (look.found) {
      case Engine::Found::kSomething:
        std::this_thread::yield();  // who wants the lock gets it
        break;
      case Engine::Found::kFailure:
        return;
      case Engine::Found::kIdle:
        engine_.sleep_while_idle(stop_);
        break;
      case Engine::Found::kNothing:
        if (look.descriptor == Transport::kHasCome) break;
        if (look.descriptor < 0) {
          std::this_thread::sleep_for(kShortNap);
        } else {
          pollfd descriptor{look.descriptor, POLLIN, 0};
          ::poll(&descriptor, 1, static_cast<int>(kNap.count()));
        }
        break;
    }
  }
}

}  // namespace banyan::comm
