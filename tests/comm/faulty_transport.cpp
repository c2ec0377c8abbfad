#include "tests/comm/faulty_transport.hpp"

#include <signal.h>

#include <algorithm>

#include "src/base/rng.hpp"

namespace banyan::comm {

class FaultyTransport::Held final : public Request {
 public:
  Held(const Message& m, unsigned d) : message(m), delay(d) {}
  void complete() { finish(); }
  void broken(const Request& by) { fail(by.error(), by.peer_lost()); }
  // From now on the message is a copy of its own.
  void copy() {
    memory.assign(message.data, message.data + message.bytes);
    message.data = memory.data();
  }

  Message message;
  unsigned delay;
  bool twice = false;
  std::vector<std::byte> memory;
  Request *inner = nullptr, *second = nullptr;
};

FaultyTransport::FaultyTransport(std::unique_ptr<Transport> inner, Faults faults)
    : inner_(std::move(inner)), faults_(faults), strikes_(faults.rank < 0 || faults.rank == inner_->rank()) {}

FaultyTransport::~FaultyTransport() {
  for (const auto& list : {std::cref(all_), std::cref(left_over_)})
    for (const auto& held : list.get())
      for (Request* r : {held->inner, held->second})
        if (r) inner_->forget(r);
}

void FaultyTransport::die() {
  switch (faults_.death) {
    case Faults::Death::kSignal:
      raise(SIGKILL);
      break;
    case Faults::Death::kException:
      throw RankDied();
    case Faults::Death::kSilence:
      silent_ = true;
  }
}

Request* FaultyTransport::send(const Message& m) {
  const std::uint64_t number = sends_++;
  const std::uint64_t luck = rng::mix(rng::mix(faults_.seed, static_cast<std::uint64_t>(rank())), number);
  const auto is = [&](int which) { return strikes_ && which >= 0 && number == static_cast<std::uint64_t>(which); };
  const auto is_past = [&](int which) { return strikes_ && which >= 0 && number >= static_cast<std::uint64_t>(which); };
  if (is(faults_.die_at)) die();

  all_.push_back(std::make_unique<Held>(m, static_cast<unsigned>(luck % (faults_.longest_delay + 1))));
  Held& held = *all_.back();
  if (silent_) return &held;
  if (is_past(faults_.drop_from)) {
    held.complete();  // the sender believes it has gone
    return &held;
  }
  if (is(faults_.duplicate)) {
    held.copy();
    held.twice = true;
  }
  if (is_past(faults_.corrupt) && !corrupted_ && m.bytes > 0 && m.kind == MemoryKind::kHost) {
    corrupted_ = true;
    held.copy();
    const std::uint64_t bit = rng::mix(luck, 1) % (m.bytes * 8);
    held.memory[bit / 8] ^= std::byte{1} << (bit % 8);
  }
  auto& queue = queues_[{m.peer, m.tag.bits}];
  if (faults_.longest_delay == 0 && queue.empty())
    go(held);
  else
    queue.push_back(&held);
  return &held;
}

Request* FaultyTransport::receive(const Message& m) {
  if (!silent_) return inner_->receive(m);
  all_.push_back(std::make_unique<Held>(m, 0));
  return all_.back().get();
}

void FaultyTransport::go(Held& held) {
  held.inner = inner_->send(held.message);
  if (held.twice) held.second = inner_->send(held.message);
}

void FaultyTransport::update(Held& held) {
  if (!held.inner || held.state() != Request::State::kPending) return;
  if (held.inner->state() == Request::State::kDone) held.complete();
  if (held.inner->state() == Request::State::kFailed) held.broken(*held.inner);
}

void FaultyTransport::progress() {
  if (silent_) return;
  for (auto& [stream, queue] : queues_)
    while (!queue.empty()) {  // the order within a stream is kept
      Held* first = queue.front();
      if (first->delay > 0) {
        --first->delay;
        break;
      }
      go(*first);
      queue.pop_front();
    }
  std::erase_if(queues_, [](const auto& entry) { return entry.second.empty(); });
  inner_->progress();
  for (const auto& held : all_) update(*held);
}

bool FaultyTransport::doze(Seconds longest) {
  // What is held back goes out in progress().
  return !silent_ && queues_.empty() && inner_->doze(longest);
}

void FaultyTransport::give_back(Request* request, bool forget) {
  const auto back = [&](Request* r) { forget ? inner_->forget(r) : inner_->release(r); };
  const auto at = std::find_if(all_.begin(), all_.end(), [&](const auto& held) { return held.get() == request; });
  if (at == all_.end()) return back(request);
  std::unique_ptr<Held> held = std::move(*at);
  all_.erase(at);
  if (const auto queue = queues_.find({held->message.peer, held->message.tag.bits}); queue != queues_.end())
    std::erase(queue->second, held.get());
  if (held->inner) back(held->inner);
  held->inner = nullptr;
  if (held->second || !held->memory.empty()) left_over_.push_back(std::move(held));  // its copy may still be read
}

void FaultyTransport::release(Request* request) { give_back(request, false); }
void FaultyTransport::forget(Request* request) { give_back(request, true); }

}  // namespace banyan::comm
