#include "tests/cuda_host/streams.hpp"

#include <deque>
#include <set>
#include <string>
#include <vector>

#include "tests/cuda_host/emulation.hpp"

namespace emu {
namespace {

struct Work {
  std::function<void()> run;
  std::vector<Mark> after;
};

struct Stream {
  std::deque<Work> queue;
  std::uint64_t done = 0;
  bool blocking = true;  ///< ordered with the default stream
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

void run(Stream& s, std::uint64_t until) {
  if (s.done >= until || s.queue.empty()) return;
  const DeviceAccess access;
  while (s.done < until && !s.queue.empty()) {
    // Copied: running the others may add to this queue, but never takes from its front.
    const std::vector<Mark> after = s.queue.front().after;
    for (const Mark& m : after) run_until(m);
    const Work work = std::move(s.queue.front());
    s.queue.pop_front();
    ++s.done;
    if (sticky_error() == cudaSuccess) work.run();
  }
}

}  // namespace

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
}

void run_some(const Mark& mark) {
  if (Stream* s = mark.set ? find(mark.stream) : nullptr)
    if (s->done < mark.position) run(*s, s->done + 1);
}

void run_all() {
  run(streams().standard, streams().standard.end());
  for (Stream* s : streams().others) run(*s, s->end());
}

void push(cudaStream_t handle, std::function<void()> work, Mark after) {
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
