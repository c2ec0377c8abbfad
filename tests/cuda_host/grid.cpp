// Runs the blocks of a launch: a few of them at a time, their threads interleaved as the seed says.
#include "tests/cuda_host/grid.hpp"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <random>
#include <set>
#include <string>

#include "tests/cuda_host/sanitizers.hpp"

// The built-in variables; rewritten at every switch.
uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emu {

Thread* current = nullptr;

namespace {

/// Threads that can go on.
class Ready {
 public:
  void push(Thread* t) { ring_[(head_ + count_++) % kMost] = t; }
  Thread*& at(unsigned i) { return ring_[(head_ + i) % kMost]; }
  unsigned count() const { return count_; }
  void clear() { count_ = 0; }
  /// The i-th; the first takes its place.
  Thread* take(unsigned i) {
    std::swap(at(0), at(i));
    Thread* t = at(0);
    head_ = (head_ + 1) % kMost;
    --count_;
    return t;
  }

 private:
  static constexpr unsigned kMost = 8192;
  Thread* ring_[kMost];
  unsigned head_ = 0, count_ = 0;
};

/// Fixed arrays and leaked lists: what fibers touch must not be freed memory to a sanitizer.
Ready ready;
auto& idle = *new std::vector<Thread*>;      // finished, to be used again
auto& finished = *new std::vector<Thread*>;  // finished, but ThreadSanitizer still tells them apart
auto& created = *new std::vector<Thread*>;   // all, so that none is unreachable
const std::function<void()>* kernel = nullptr;
bool abandoned = false;
char end_order;  // everything of a launch happens before what comes after it

/// Fibers that ThreadSanitizer keeps apart before their history is merged; each costs about 1 MB.
constexpr std::size_t kTsanFibers = 1024;

void thread_main() {
  for (;;) {
    Thread* t = current;
    t->started = true;
    sanitizer::acquire(&t->block->start);
    (*kernel)();
    sanitizer::release(&end_order);
    t->state = State::kDone;
    yield_now();
  }
}

Thread* take_thread() {
  if (!idle.empty()) {
    Thread* t = idle.back();
    idle.pop_back();
    return t;
  }
  auto* t = new Thread;
  make_fiber(t->fiber, thread_main);
  created.push_back(t);
  return t;
}

void recycle_finished() {
  idle.insert(idle.end(), finished.begin(), finished.end());
  finished.clear();
}

Block* start_block(uint3 index, std::size_t dynamic_shared, unsigned thread_count) {
  auto* b = new Block;
  b->index = index;
  b->alive = static_cast<int>(thread_count);
  b->warps.resize((thread_count + 31) / 32);
  if (thread_count % 32) b->warps.back().exited = ~0u << thread_count % 32;
  open_shared(*b, acquire_slot(), dynamic_shared);
  if (sanitizer::thread() && idle.size() < thread_count && created.size() + thread_count > kTsanFibers) {
    sanitizer::acquire(&end_order);
    recycle_finished();
  }
  unsigned priority = 0;
  for (unsigned i = 0; i < thread_count; ++i) {
    Thread* t = take_thread();
    if (i % 32 == 0) priority = static_cast<unsigned>(random_number());
    t->priority = priority;
    t->flat = i;
    t->lane = i % 32;
    t->block = b;
    t->warp = &b->warps[i / 32];
    t->state = State::kReady;
    t->started = false;
    t->copy_count = 0;
    t->copy_group = 0;
    t->index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
    b->threads.push_back(t);
  }
  sanitizer::release(&b->start);
  for (unsigned i = 0; i < thread_count; ++i) ready.push(b->threads[seed() == 1 ? thread_count - 1 - i : i]);
  count_threads(thread_count);
  return b;
}

void end_block(Block* b) {
  close_shared(*b);
  auto& to = sanitizer::thread() ? finished : idle;
  to.insert(to.end(), b->threads.begin(), b->threads.end());
  delete b;
}

void describe_deadlock(const std::set<Block*>& live) {
  int waiting = 0;
  for (const Block* b : live)
    for (const Thread* t : b->threads) {
      if (t->state != State::kBarrier && t->state != State::kWarp) continue;
      if (waiting++ < 4)
        report("deadlock: block " + std::to_string(b->index.x) + " thread " + std::to_string(t->flat) + " waits in " +
               (t->state == State::kBarrier ? "__syncthreads" : name_of(t->group->op)) + " at " + t->site.file + ":" +
               std::to_string(t->site.line));
    }
  report("deadlock: " + std::to_string(waiting) + " threads wait for ever");
}

unsigned choose() {
  if (seed() < 2) return 0;
  if (seed() % 2 == 0) return static_cast<unsigned>(random_number() % ready.count());
  unsigned best = 0;
  for (unsigned i = 1; i < ready.count(); ++i)
    if (ready.at(i)->priority > ready.at(best)->priority) best = i;
  if (random_number() % 64 == 0) {  // another warp leads from here on
    const Warp* w = ready.at(best)->warp;
    const auto priority = static_cast<unsigned>(random_number());
    for (Thread* t : ready.at(best)->block->threads)
      if (t->warp == w) t->priority = priority;
  }
  return best;
}

void run_thread(Thread* t) {
  current = t;
  threadIdx = t->index;
  blockIdx = t->block->index;
  switch_to(t->fiber);
  current = nullptr;
}

/// What follows from a thread's end.
void leave(Thread* t, std::set<Block*>& live) {
  Block* b = t->block;
  t->warp->exited |= 1u << t->lane;
  for (int i = 0; i < t->warp->group_count; ++i) try_release(*b, *t->warp, t->warp->groups[i]);
  b->any_exited = true;
  --b->alive;
  if (t->copy_count > 0) {
    report("thread " + std::to_string(t->flat) + " of block " + std::to_string(b->index.x) +
           " exits while asynchronous copies are still on its way");
    abandoned = true;
  }
  if (b->arrived) {
    report("thread " + std::to_string(t->flat) + " of block " + std::to_string(b->index.x) +
           " exits while others wait in __syncthreads() at " + b->site.file + ":" + std::to_string(b->site.line));
    abandoned = true;
  }
  if (b->alive == 0) {
    live.erase(b);
    end_block(b);
  }
}

}  // namespace

void yield_now() {
  yield_from(current->fiber);
  while (abandoned) {  // woken for the last time, to say that all it did is before what follows
    sanitizer::release(&end_order);
    yield_from(current->fiber);
  }
}

void wake(Thread* t) {
  t->state = State::kReady;
  ready.push(t);
}

void abandon_launch() {
  abandoned = true;
  yield_now();
  std::abort();  // never reached
}

void atomic_point() {
  if (seed() >= 2 && current && random_number() % 8 == 0) {
    wake(current);
    yield_now();
  }
}

void run_grid(dim3 grid, dim3 block, std::size_t dynamic_shared, const std::function<void()>& body) {
  const unsigned thread_count = block.x * block.y * block.z;
  const std::uint64_t total = std::uint64_t{grid.x} * grid.y * grid.z;
  const std::size_t resident = seed() >= 2 ? 3 : 1;  // blocks that run interleaved
  gridDim = grid;
  blockDim = block;
  kernel = &body;
  abandoned = false;
  std::vector<std::uint64_t> order(total);
  std::iota(order.begin(), order.end(), 0);
  if (seed() == 1) std::reverse(order.begin(), order.end());
  if (seed() >= 2) std::shuffle(order.begin(), order.end(), std::mt19937_64(random_number()));
  std::set<Block*> live;
  for (std::uint64_t next = 0; !abandoned;) {
    while (live.size() < resident && next < total) {
      const std::uint64_t i = order[next++];
      const uint3 index{static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                        static_cast<unsigned>(i / grid.x / grid.y)};
      live.insert(start_block(index, dynamic_shared, thread_count));
    }
    if (ready.count() > 0) {
      Thread* t = ready.take(choose());
      run_thread(t);
      if (t->state == State::kDone && !abandoned) leave(t, live);
    } else if (live.empty()) {
      break;
    } else {
      describe_deadlock(live);
      abandoned = true;
    }
  }
  // Of an abandoned launch the fibers stay as they are for ever; kernels own nothing that this would lose.
  ready.clear();
  for (Block* b : live) {
    if (sanitizer::thread())
      for (Thread* t : b->threads)
        if (t->started && t->state != State::kDone) run_thread(t);
    release_slot(b->slot);
    delete b;
  }
  sanitizer::acquire(&end_order);
  recycle_finished();
}

}  // namespace emu
