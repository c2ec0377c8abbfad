// A Transport that delays or drops what goes through it, as a function of (seed, rank, number of the message): with
// delays, messages of different streams overtake each other as they may on a network.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/transport.hpp"
#include "src/base/rng.hpp"

namespace banyan::comm {

struct Faults {
  std::uint64_t seed = 1;
  unsigned longest_delay = 0;  ///< calls of progress() a send may be held back
  int drop_from = -1;          ///< number of the first send that is lost; -1: none
};

class FaultyTransport final : public Transport {
 public:
  FaultyTransport(std::unique_ptr<Transport> inner, Faults faults) : inner_(std::move(inner)), faults_(faults) {}
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return "faulty " + inner_->name(); }

  Request* send(const Message& m) override {
    const std::uint64_t luck = rng::mix(rng::mix(faults_.seed, static_cast<std::uint64_t>(rank())), sends_);
    auto* held = new Held{m, static_cast<unsigned>(luck % (faults_.longest_delay + 1))};
    if (faults_.drop_from >= 0 && sends_ >= static_cast<std::uint64_t>(faults_.drop_from)) {
      held->dropped = true;
      held->complete();  // the sender believes it has gone
    } else {
      queues_[{m.peer, m.tag.bits}].push_back(held);
    }
    ++sends_;
    all_.push_back(held);
    return held;
  }
  Request* receive(const Message& m) override { return inner_->receive(m); }
  void progress() override {
    for (auto& [stream, queue] : queues_)
      while (!queue.empty()) {  // the order within a stream is kept
        Held* first = queue.front();
        if (first->delay > 0) {
          --first->delay;
          break;
        }
        first->inner = inner_->send(first->message);
        queue.pop_front();
      }
    inner_->progress();
    for (Held* held : all_)
      if (held->inner && held->inner->state() == Request::State::kDone && held->state() == Request::State::kPending)
        held->complete();
  }
  void release(Request* request) override {
    for (auto at = all_.begin(); at != all_.end(); ++at) {
      Held* held = *at;
      if (held != request) continue;
      if (held->inner) inner_->release(held->inner);
      if (!held->inner && !held->dropped) std::erase(queues_[{held->message.peer, held->message.tag.bits}], held);
      all_.erase(at);
      delete held;
      return;
    }
    inner_->release(request);
  }
  void forget(Request* request) override { release(request); }

 private:
  struct Held final : Request {
    Held(const Message& m, unsigned w) : message(m), delay(w) {}
    void complete() { finish(); }
    const Message message;
    unsigned delay;
    bool dropped = false;
    Request* inner = nullptr;
  };
  const std::unique_ptr<Transport> inner_;
  const Faults faults_;
  std::uint64_t sends_ = 0;
  std::map<std::pair<int, std::uint32_t>, std::deque<Held*>> queues_;
  std::vector<Held*> all_;
};

}  // namespace banyan::comm
