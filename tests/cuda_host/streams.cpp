#include "tests/cuda_host/streams.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <set>
#include <string>
#include <vector>

#include "tests/cuda_host/emulation.hpp"

namespace emu {
namespace {

constexpr std::uint64_t kSome = 64;  // opening the device's memory takes longer than a small kernel

struct Work {
  std::function<bool()> run;  ///< false: not yet
  std::vector<Mark> after;
};

struct Stream {
  std::deque<Work> queue;
  std::uint64_t done = 0;
  bool blocking = true;  ///< ordered with the default stream
  int device = current_device();
  bool runs = false;
  std::uint64_t end() const { return done + queue.size(); }
};

struct Streams {
  Stream standard;
  std::set<Stream*> others;
};
Streams& streams() {
  static auto& s = *new Streams;
  return s;
}

Stream* find(cudaStream_t s) {
  if (!s || s == cudaStreamLegacy) return &streams().standard;
  auto* stream = reinterpret_cast<Stream*>(s);
  return streams().others.count(stream) ? stream : nullptr;
}

/// As far as it gets without waiting for other processes.
void run(Stream& s, std::uint64_t until) {
  if (s.done >= until || s.queue.empty() || s.runs) return;
  const DeviceAccess access;
  s.runs = true;
  while (s.done < until && !s.queue.empty()) {
    // Running the others may add to this queue, but never takes from its front.
    Work& next = s.queue.front();
    const auto may_begin = [](const Mark& m) {
      if (Stream* other = m.set ? find(m.stream) : nullptr) run(*other, m.position);
      return passed(m);
    };
    if (!std::all_of(next.after.begin(), next.after.end(), may_begin)) break;
    if (sticky_error() == cudaSuccess && !next.run()) break;
    s.queue.pop_front();
    ++s.done;
  }
  s.runs = false;
}

/// Until somewhere else has run what this process waits for, and perhaps the other waits for what is in another stream
/// of this one.
template <class Done>
void wait_for(Done done) {
  while (!done()) {
    run_enabled();
    if (!done()) usleep(50);
  }
}

}  // namespace

namespace {
thread_local int t_device = 0;
}  // namespace

int device_count() {
  static const int count = std::getenv("CUDAEMU_DEVICES") ? std::atoi(std::getenv("CUDAEMU_DEVICES")) : 1;
  return count;
}
int current_device() { return t_device; }
void set_current_device(int device) { t_device = device; }
int device_of(cudaStream_t stream) {
  const Stream* s = find(stream);
  return !s || s == &streams().standard ? t_device : s->device;
}

cudaStream_t create_stream(bool blocking) {
  auto* s = new Stream;
  s->blocking = blocking;
  streams().others.insert(s);
  return reinterpret_cast<cudaStream_t>(s);
}

void destroy_stream(cudaStream_t handle) {
  Stream* s = find(handle);
  if (!s || s == &streams().standard) return;
  run(*s, s->end());
  if (!s->queue.empty()) return;  // what is under way goes on
  streams().others.erase(s);
  delete s;
}

Mark end_of(cudaStream_t stream) {
  const Stream* s = find(stream);
  return {stream, s ? s->end() : 0, s != nullptr};
}

bool passed(const Mark& mark) {
  const Stream* s = mark.set ? find(mark.stream) : nullptr;
  return !s || s->done >= mark.position;
}

void run_until(const Mark& mark) {
  if (Stream* s = mark.set ? find(mark.stream) : nullptr) run(*s, mark.position);
  wait_for([&] { return passed(mark); });
}

void run_some(const Mark& mark) {
  if (Stream* s = mark.set ? find(mark.stream) : nullptr)
    if (const std::uint64_t before = s->done; before < mark.position) {
      run(*s, std::min(mark.position, before + kSome));
      if (s->done == before) run_enabled();
    }
}

void run_enabled() {
  run(streams().standard, streams().standard.end());
  for (Stream* s : streams().others) run(*s, s->end());
}

void run_all() {
  wait_for([] {
    run_enabled();
    return streams().standard.queue.empty() &&
           std::all_of(streams().others.begin(), streams().others.end(), [](Stream* s) { return s->queue.empty(); });
  });
}

void push(cudaStream_t stream, std::function<void()> work, Mark after) {
  push_polled(
      stream,
      [work = std::move(work)] {
        work();
        return true;
      },
      after);
}

void push_polled(cudaStream_t handle, std::function<bool()> work, Mark after) {
  Stream* s = find(handle);
  if (!s) return report("work for a stream that does not exist");
  Work w{std::move(work), {}};
  if (after.set) w.after.push_back(after);
  if (s == &streams().standard) {
    for (Stream* o : streams().others)
      if (o->blocking) w.after.push_back(end_of(reinterpret_cast<cudaStream_t>(o)));
  } else if (s->blocking) {
    w.after.push_back(end_of(nullptr));
  }
  s->queue.push_back(std::move(w));
  if (seed() == 1) return run(*s, s->end());
  if (seed() < 2 || random_number() % 3 != 0) return;
  std::vector<Stream*> all(streams().others.begin(), streams().others.end());
  all.push_back(&streams().standard);
  Stream* lucky = all[random_number() % all.size()];
  run(*lucky, lucky->done + 1);
}

void enqueue(cudaStream_t stream, std::function<void()> work) { push(stream, std::move(work)); }

}  // namespace emu
