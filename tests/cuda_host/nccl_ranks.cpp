// nccl_ranks [MODE DIRECTORY]: comm/nccl on the layer of this folder.  Without a mode: against the collectives of the
// host, on 1, 2 or 4 ranks.  With kill, hang, fail or mismatch: all ranks but the one that goes, the last, must notice
// and write DIRECTORY/rank.N (tests/comm/peer_loss.sh).
#include <cuda_bf16.h>
#include <cuda_runtime_api.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "comm/nccl/nccl_world.hpp"
#include "src/base/error.hpp"
#include "tests/comm/conformance.hpp"
#include "tests/cuda_host/emulation.hpp"

namespace banyan::comm {
namespace {

void must(cudaError_t e) { require(e == cudaSuccess, cudaGetErrorString(e)); }

cudaStream_t compute() {
  static const cudaStream_t s = [] {
    cudaStream_t made;
    must(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking));
    return made;
  }();
  return s;
}

/// An array of the device; values go there and back in the compute stream.
template <class T>
class Array {
 public:
  explicit Array(std::vector<T> values, DType dtype = dtype_of<T>)
      : count_(static_cast<std::int64_t>(values.size())), dtype_(dtype) {
    must(cudaMalloc(&data_, std::max<std::size_t>(1, values.size() * sizeof(T))));
    set(values);
  }
  ~Array() { cudaFree(data_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  View view() const { return View(static_cast<std::byte*>(data_), dtype_, {count_}, MemoryKind::kDevice); }
  void set(const std::vector<T>& values) {
    must(cudaMemcpyAsync(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice, compute()));
  }
  std::vector<T> get() const {
    std::vector<T> values(static_cast<std::size_t>(count_));
    must(cudaMemcpyAsync(values.data(), data_, values.size() * sizeof(T), cudaMemcpyDeviceToHost, compute()));
    must(cudaStreamSynchronize(compute()));
    return values;
  }

 private:
  void* data_ = nullptr;
  std::int64_t count_;
  DType dtype_;
};

/// Values whose sums depend on their order.
template <class T>
std::vector<T> values(std::int64_t count, int rank, int salt = 0) {
  std::vector<T> v(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < v.size(); ++i) {
    const auto n = static_cast<std::int64_t>(i * 7919 + static_cast<std::size_t>(rank * 104729 + salt * 31));
    v[i] = std::is_floating_point_v<T> ? static_cast<T>(n % 10007) * static_cast<T>(1.0 / 3) : static_cast<T>(n % 1000);
  }
  return v;
}

struct Team {
  Team(World& w, NcclWorld& n, int id = 1) : host(everyone(w)), device(n.group(everyone(w, id))) {}
  std::unique_ptr<Communicator> host, device;
};

template <class T>
View host_view(std::vector<T>& v) {
  return View(v.data(), {static_cast<std::int64_t>(v.size())});
}

template <class T>
void same(const std::vector<T>& got, const std::vector<T>& expected, const char* what) {
  require(got.size() == expected.size(), what);
  require(got.empty() || std::memcmp(got.data(), expected.data(), got.size() * sizeof(T)) == 0, what);
}

/// Bit by bit what the host's collectives make: both add in the order of ranks.
template <class T>
void collectives(Team& t, const std::vector<std::int64_t>& counts) {
  const int rank = t.host->rank();
  const std::int64_t all = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  const auto self = static_cast<std::size_t>(rank);
  const std::int64_t before = std::accumulate(counts.begin(), counts.begin() + rank, std::int64_t{0});
  for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
    std::vector<T> expected = values<T>(all, rank);
    const Array<T> x(expected);
    t.device->all_reduce({}, x.view(), op, "x").wait();
    t.host->all_reduce({}, host_view(expected), op, "x").wait();
    same(x.get(), expected, "all-reduce");

    std::vector<T> in = values<T>(all, rank), out(static_cast<std::size_t>(counts[self]));
    const Array<T> parts(in), mine(out), inside(in);
    t.device->reduce_scatter({}, mine.view(), parts.view(), counts, op, "x").wait();
    const View own = inside.view().rows(before, before + counts[self]);
    t.device->reduce_scatter({}, own, inside.view(), counts, op, "x").wait();
    t.host->reduce_scatter({}, host_view(out), host_view(in), counts, op, "x").wait();
    same(mine.get(), out, "reduce-scatter");
    const std::vector<T> there = inside.get();
    same({there.begin() + before, there.begin() + before + counts[self]}, out, "reduce-scatter in its place");
  }
  std::vector<T> mine = values<T>(counts[self], rank), expected(static_cast<std::size_t>(all));
  const Array<T> part(mine), gathered(expected);
  t.device->all_gather({}, gathered.view(), part.view(), counts, "x").wait();
  t.host->all_gather({}, host_view(expected), host_view(mine), counts, "x").wait();
  same(gathered.get(), expected, "all-gather");

  std::vector<T> told = values<T>(all, rank);
  const Array<T> shown(told);
  t.device->broadcast({}, shown.view(), t.host->size() - 1, "x").wait();
  t.host->broadcast({}, host_view(told), t.host->size() - 1, "x").wait();
  same(shown.get(), told, "broadcast");
}

void all_to_all(Team& t) {
  const int rank = t.host->rank(), size = t.host->size();
  std::vector<std::int64_t> sends, receives;
  for (int r = 0; r < size; ++r) {
    sends.push_back((rank + 2 * r) % 4);
    receives.push_back((r + 2 * rank) % 4);
  }
  std::vector<float> in = values<float>(std::accumulate(sends.begin(), sends.end(), std::int64_t{0}), rank);
  std::vector<float> out(static_cast<std::size_t>(std::accumulate(receives.begin(), receives.end(), std::int64_t{0})));
  const Array<float> from(in), to(out);
  t.device->all_to_all_v({}, to.view(), receives, from.view(), sends, "x").wait();
  t.host->all_to_all_v({}, host_view(out), receives, host_view(in), sends, "x").wait();
  same(to.get(), out, "all-to-all");
}

/// bf16: rounded after each addition, in the order of ranks.
void bf16(Team& t) {
  constexpr std::int64_t kCount = 37;
  std::vector<float> sum(kCount, 0);
  std::vector<__nv_bfloat16> mine;
  for (int r = 0; r < t.host->size(); ++r) {
    std::vector<__nv_bfloat16> theirs;
    for (const float v : values<float>(kCount, r)) theirs.push_back(__float2bfloat16(v));
    for (std::size_t i = 0; i < theirs.size(); ++i)
      sum[i] = r == 0 ? __bfloat162float(theirs[i])
                      : __bfloat162float(__float2bfloat16(sum[i] + __bfloat162float(theirs[i])));
    if (r == t.host->rank()) mine = theirs;
  }
  const Array<__nv_bfloat16> x(mine, DType::kBF16);
  t.device->all_reduce({}, x.view(), ReduceOp::kSum, "x").wait();
  std::vector<float> got;
  for (const __nv_bfloat16 v : x.get()) got.push_back(__bfloat162float(v));
  same(got, sum, "a sum in bf16");
}

/// Work of the stream before, a collective, work after it, over and over: the order holds though nobody waits.
void order(Team& t) {
  const Array<std::int32_t> x(std::vector<std::int32_t>(64, 0)), y(std::vector<std::int32_t>(64, 0));
  x.get();
  Event done = t.device->all_reduce({}, y.view(), ReduceOp::kSum, "the first, which makes the communicator");
  done.wait();
  const std::uint64_t waits = emu::host_waits();
  for (int i = 0; i < 8; ++i) {
    must(cudaMemsetAsync(x.view().data, i, 64 * 4, compute()));
    Event sum = t.device->all_reduce({}, x.view(), ReduceOp::kSum, "x");
    Event other = t.device->all_reduce({}, y.view(), ReduceOp::kMax, "y");
    sum.wait();
    must(cudaMemcpyAsync(y.view().data, x.view().data, 64 * 4, cudaMemcpyDeviceToDevice, compute()));
    other.wait();
  }
  require(emu::host_waits() == waits, "the host waited for the GPU");
  require(x.get()[63] == 7 * 0x01010101 * t.host->size(), "the order of a stream's work and of collectives");
}

/// Each rank sends to the next and back, several channels that are served in another order than they were filled.
void messages(Team& t) {
  const int rank = t.host->rank(), size = t.host->size(), next = (rank + 1) % size, before = (rank + size - 1) % size;
  constexpr int kChannels = 2, kRounds = 3;
  std::vector<std::unique_ptr<Array<float>>> out, in;
  std::vector<Event> events;
  for (int round = 0; round < kRounds; ++round) {
    for (int c = 0; c < kChannels; ++c) {
      out.push_back(std::make_unique<Array<float>>(values<float>(5, rank, c + 10 * round)));
      events.push_back(t.device->send({}, out.back()->view(), next, c, "forward"));
      out.push_back(std::make_unique<Array<float>>(values<float>(4, rank, c + 10 * round + 100)));
      events.push_back(t.device->send({}, out.back()->view(), before, c + 7, "back"));
    }
    for (int c = kChannels - 1; c >= 0; --c) {
      in.push_back(std::make_unique<Array<float>>(std::vector<float>(5)));
      events.push_back(t.device->receive({}, in.back()->view(), before, c, "forward"));
      in.push_back(std::make_unique<Array<float>>(std::vector<float>(4)));
      events.push_back(t.device->receive({}, in.back()->view(), next, c + 7, "back"));
    }
  }
  for (Event& e : events) e.wait();
  std::size_t i = 0;
  for (int round = 0; round < kRounds; ++round)
    for (int c = kChannels - 1; c >= 0; --c) {
      same(in[i++]->get(), values<float>(5, before, c + 10 * round), "a message forward");
      same(in[i++]->get(), values<float>(4, next, c + 10 * round + 100), "a message back");
    }
}

/// What lies in host memory goes the host's way, and so does what is empty.
void host_memory(Team& t) {
  std::vector<float> x{1, 2};
  t.device->all_reduce({}, host_view(x), ReduceOp::kSum, "x").wait();
  require(x[1] == 2.0f * static_cast<float>(t.host->size()), "a sum in host memory");
  const Array<float> nothing({});
  t.device->all_reduce({}, nothing.view(), ReduceOp::kSum, "nothing").wait();
  t.device->barrier("the end");
  require(t.device->pin(nothing.view()) == nullptr, "pinned device memory");
}

void compare(World& world, NcclWorld& nccl) {
  const int size = world.size();
  for (int round = 0; round < 2; ++round) {  // the second time with communicators made anew
    Team t(world, nccl);
    std::vector<std::int64_t> equal(static_cast<std::size_t>(size), 13), uneven;
    for (int r = 0; r < size; ++r) uneven.push_back(r == 1 ? 0 : 5 + 3 * r);
    for (const auto& counts : {equal, uneven}) {
      collectives<float>(t, counts);
      collectives<double>(t, counts);
      collectives<std::int64_t>(t, counts);
    }
    all_to_all(t);
    bf16(t);
    order(t);
    messages(t);
    host_memory(t);
    t.device->barrier("before the communicators go");
  }
}

/// What the others must be told when the last rank goes.
std::string expected(const std::string& mode, const std::string& victim) {
  if (mode == "fail") return victim + " failed: disk full";
  if (mode == "kill") return victim + " failed: it ended without a word";
  if (mode == "hang") return victim;
  return "all-reduce of 8 f32 (sum)";  // mismatch: what somebody is in
}

int lose(World& world, NcclWorld& nccl, const std::string& mode, const std::string& directory) {
  const int victim = world.size() - 1;
  const bool last = world.rank() == victim;
  std::string what = "nothing";
  try {
    Team t(world, nccl);
    const Array<float> x(std::vector<float>(8, 1));
    std::vector<std::int64_t> counts(static_cast<std::size_t>(world.size()), 8 / world.size());
    for (int step = 0;; ++step) {
      if (step == 3 && last) {
        if (mode == "kill") raise(SIGKILL);
        if (mode == "fail") throw IoError("disk full in step {}", step);
        if (mode == "hang") {
          std::this_thread::sleep_for(std::chrono::seconds(12));  // longer than the others' patience
          _exit(69);
        }
      }
      Event e = step == 3 && last ? t.device->all_gather({}, x.view(), x.view().rows(0, counts[0]), counts, "gradients")
                                  : t.device->all_reduce({}, x.view(), ReduceOp::kSum, "gradients");
      const Section section("the end of a step", Seconds{30});
      for (Backoff backoff; !e.test(); backoff.pause()) section.check();
    }
  } catch (const Error& e) {
    what = e.what();
    nccl.abort(what);
    must(cudaDeviceSynchronize());  // streams are free again
    world.announce_failure(static_cast<int>(e.code()), what);
  }
  std::fprintf(stderr, "rank %d: %s\n", world.rank(), what.c_str());
  const std::string name = "rank " + std::to_string(victim) + " on " + world.host(victim);
  const auto says = [&](const std::string& words) { return what.find(words) != std::string::npos; };
  // Of a rank that hangs some find out by themselves, the rest is told.
  const bool named =
      says(expected(mode, name)) && (mode != "hang" || (says("no answer") && says("all-reduce gradients of world")));
  world.last_barrier(Seconds{mode == "fail" || mode == "mismatch" ? 20.0 : 0.5});
  if (!last && named) std::ofstream(directory + "/rank." + std::to_string(world.rank())) << "ok\n";
  return 69;
}

}  // namespace
}  // namespace banyan::comm

int main(int argc, char** argv) {
  using namespace banyan;
  auto world = comm::make_mpi_world();
  const bool loses = argc == 3;
  const Seconds timeout{loses && std::string(argv[1]) != "kill" ? 3.0 : 30.0};
  try {
    comm::configure_for_test(*world, timeout);
    comm::require(cudaSetDevice(world->rank()) == cudaSuccess, "a GPU");
    const auto nccl = comm::make_nccl_world({.peer_timeout = timeout, .device = world->rank(), .stream = [](Queue) {
                                               return static_cast<void*>(comm::compute());
                                             }});
    if (loses) {
      comm::lose(*world, *nccl, argv[1], argv[2]);
      world.release();  // no finalizing without the dead
      _exit(69);
    }
    comm::compare(*world, *nccl);
    comm::require(emu::reports().empty(), emu::reports());
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "rank %d: %s\n%s", world->rank(), e.what(), emu::reports().c_str());
    world->announce_failure(70, e.what());
    world.release();
    _exit(70);
  }
}
