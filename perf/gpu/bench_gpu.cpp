// bench-gpu: what one GPU, or the GPUs of a node, can do with Banyan's operations (perf/gpu.sh runs all of it).
//
//   bench-gpu devices            how many GPUs there are; without one the reason, after the word SKIPPED
//   bench-gpu check [MOST]       every operation against its reference and the CPU; MOST: elements of a tensor
//   bench-gpu ops [--small]      the time of every operation beside the best product and the best copy of the same run
//   bench-gpu comm [--small]     what NCCL's collectives move between the ranks it is started on
//
// Rows are "name, microseconds, TFLOP/s, GB/s, share of the ceiling of arithmetic, of memory".
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "comm/nccl/nccl_world.hpp"
#include "kernels/gpu.hpp"
#include "src/base/error.hpp"
#include "tests/kernels/op_cases.hpp"

namespace banyan::perf {
namespace {

using kernels::test::Bound;
using kernels::test::OpCase;

/// Median seconds of a call: batches of calls, each batch waited for, so that the start of a kernel counts where it
/// takes longer than the kernel.
double seconds_of(kernels::Backend& gpu, const std::function<void()>& call, double budget) {
  const auto batch = [&](int calls) {
    gpu.synchronize({});
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) call();
    gpu.synchronize({});
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / calls;
  };
  batch(2);
  const int calls = std::clamp(static_cast<int>(budget / 5 / batch(1)), 1, 1000);
  std::vector<double> seconds;
  for (int i = 0; i < 5; ++i) seconds.push_back(batch(calls));
  std::sort(seconds.begin(), seconds.end());
  return seconds[2];
}

struct Ceilings {
  double fp32 = 0, bf16 = 0;  ///< FLOP/s of the best square product
  double memory = 0;          ///< bytes/s read and written by the best copy
};

void row(const std::string& name, double seconds, double flops, double bytes, double arithmetic, double memory) {
  const auto share = [&](double of, double ceiling) {
    return of > 0 && ceiling > 0 ? fmt::format("{:.0f} %", 100 * of / seconds / ceiling) : std::string();
  };
  fmt::print("{:<58}{:>12.1f}{:>10.3f}{:>10.1f}{:>9}{:>9}\n", name, seconds * 1e6, flops / seconds / 1e12,
             bytes / seconds / 1e9, share(flops, arithmetic), share(bytes, memory));
  std::fflush(stdout);
}
void heading(const char* what) {
  fmt::print("{:<58}{:>12}{:>10}{:>10}{:>9}{:>9}\n", what, "us", "TFLOP/s", "GB/s", "of prod.", "of copy");
}

bool contains_bf16(const OpCase& c) {
  return std::any_of(c.tensors.begin(), c.tensors.end(), [](const auto& t) { return t.dtype == DType::kBF16; });
}

double time_case(kernels::Backend& gpu, const OpCase& c, double budget) {
  Bound tensors(c.tensors, c.initial(), 0, &gpu);
  return seconds_of(
      gpu, [&] { c.run(gpu, tensors); }, budget);
}

Ceilings measure_ceilings(kernels::Backend& gpu, bool small, double budget) {
  Ceilings most;
  // Uninitialised values would do for time, but a GPU's clock depends on what it multiplies: the cases' own numbers.
  for (const std::int64_t n : small ? std::vector<std::int64_t>{64} : std::vector<std::int64_t>{2048, 4096, 8192}) {
    const OpCase wide = kernels::test::gemm('N', 'N', n, n, n), narrow = kernels::test::in_bf16(wide);
    for (const auto& [c, best] : {std::pair{&wide, &most.fp32}, {&narrow, &most.bf16}}) {
      const double seconds = time_case(gpu, *c, budget);
      row("ceiling: " + c->name(), seconds, c->flops, c->bytes, 0, 0);
      *best = std::max(*best, c->flops / seconds);
    }
  }
  const OpCase copy = kernels::test::copy(small ? 64 : 16384, small ? 64 : 8192);  // 0.5 GiB
  const double seconds = time_case(gpu, copy, budget);
  row("ceiling: " + copy.name(), seconds, 0, copy.bytes, 0, 0);
  most.memory = copy.bytes / seconds;
  return most;
}

/// Of small cases the first of each operation and type.
std::vector<OpCase> one_of_each() {
  std::vector<OpCase> list;
  for (const OpCase& c : kernels::test::small_cases())
    if (c.flops + c.bytes > 0 && std::none_of(list.begin(), list.end(), [&](const OpCase& other) {
          return other.op == c.op && contains_bf16(other) == contains_bf16(c);
        }))
      list.push_back(c);
  return list;
}

std::unique_ptr<kernels::DeviceBackend> gpu_of(kernels::LocalRank rank) {
  auto gpu = kernels::make_cuda_backend(rank);
  if (rank.number == 0) {
    fmt::print("{}\n", gpu->describe());
    if (gpu->describe().find("CUDA on the CPU") != std::string::npos)
      fmt::print("THIS IS THE EMULATION OF tests/cuda_host: no figure below means anything.\n");
  }
  return gpu;
}

int devices() {
  try {
    const auto gpu = kernels::make_cuda_backend({});
    int count = 1;
    // Ranks are spread over the GPUs: the first number that comes back to GPU 0 is how many there are.
    while (kernels::make_cuda_backend({count, count + 1})->number() == count) ++count;
    fmt::print("{}\n", count);
    return 0;
  } catch (const ConfigError& e) {
    fmt::print("SKIPPED: {}\n", e.what());
    return 1;
  }
}

int check(std::int64_t most) {
  const auto gpu = gpu_of({});
  int cases = 0, wrong = 0;
  for (const OpCase& c : kernels::test::small_cases()) {
    std::int64_t largest = 0;
    for (const auto& t : c.tensors) largest = std::max(largest, t.shape.count());
    if (largest > most) continue;
    ++cases;
    const std::string problems = kernels::test::problems_on_device(*gpu, c);
    if (problems.empty()) continue;
    ++wrong;
    fmt::print("WRONG: {}\n{}", c.name(), problems);
  }
  fmt::print("{} cases of all operations, {} wrong\n", cases, wrong);
  return wrong == 0 && cases > 0 ? 0 : 1;
}

int ops(bool small) {
  const auto gpu = gpu_of({});
  const double budget = small ? 1e-4 : 0.3;
  heading("operation");
  const Ceilings most = measure_ceilings(*gpu, small, budget);
  for (const OpCase& c : small ? one_of_each() : kernels::test::bench_cases())
    row(c.name(), time_case(*gpu, c, budget), c.flops, c.bytes, contains_bf16(c) ? most.bf16 : most.fp32, most.memory);
  fmt::print("ceilings: {:.0f} {:.0f} {:.0f} FLOP/s in fp32, FLOP/s in bf16, bytes/s\n", most.fp32, most.bf16,
             most.memory);
  return 0;
}

/// Bus bandwidth: what would have to pass through every GPU's link if rings carried it (NCCL's own tests count so).
int collectives(bool small) {
  const auto world = comm::make_mpi_world();
  const bool root = world->rank() == 0;
  const auto gpu = gpu_of({world->local_rank(), world->local_size()});
  const std::string problem = world->size() < 2    ? "one rank alone has nobody to talk to"
                              : gpu->sharers() > 1 ? "ranks share a GPU, and NCCL needs one for each"
                                                   : comm::nccl_problem();
  if (!problem.empty()) {
    if (root) fmt::print("SKIPPED: {}\n", problem);
    return 0;
  }
  world->configure({}, [](Queue, View, ConstView, ConstView, comm::ReduceOp) {}, {});
  const auto nccl = comm::make_nccl_world({.device = gpu->number(), .stream = [&](Queue q) { return gpu->native(q); }});
  gpu->accompany({.look = [&] { nccl->check(); }, .give_up = [&] { nccl->abort("this rank left"); }});
  std::vector<int> ranks(static_cast<std::size_t>(world->size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  {
    const auto all = nccl->group(world->group(ranks, 1, "GPUs"));
    const double n = world->size();
    if (root) {
      fmt::print("{} between {} GPUs\n", nccl->describe(), world->size());
      fmt::print("{:<58}{:>12}{:>10}{:>10}\n", "collective", "us", "", "GB/s bus");
    }
    for (std::int64_t bytes = std::int64_t{4} << 10; bytes <= std::int64_t{1} << (small ? 14 : 28); bytes *= 4) {
      const std::int64_t part = bytes / 4 / world->size(), count = part * world->size();
      const auto size = static_cast<std::size_t>(count) * sizeof(float);
      const auto array = [&](std::int64_t elements) {
        const View v(static_cast<std::byte*>(gpu->allocate(size)), DType::kF32, {elements}, MemoryKind::kDevice);
        gpu->fill_zero({}, v);
        return v;
      };
      const View whole = array(count), share = array(part);
      const std::vector<std::int64_t> counts(ranks.size(), part);
      const auto timed = [&](const char* name, double factor, const std::function<Event()>& call) {
        // The same number of calls on all ranks, whatever their clocks say.
        const int calls = small ? 1 : bytes < (1 << 20) ? 200 : 20;
        std::vector<double> seconds;
        for (int i = 0; i < 6; ++i) {
          gpu->synchronize({});
          all->barrier(name);
          const auto begin = std::chrono::steady_clock::now();
          for (int k = 0; k < calls; ++k) call().wait();
          gpu->synchronize({});
          if (i > 0)
            seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / calls);
        }
        std::sort(seconds.begin(), seconds.end());
        if (root)
          fmt::print("{:<58}{:>12.1f}{:>10}{:>10.1f}\n", fmt::format("{} of {} bytes", name, size), seconds[2] * 1e6,
                     "", factor * static_cast<double>(size) / seconds[2] / 1e9);
      };
      timed("all-reduce", 2 * (n - 1) / n, [&] { return all->all_reduce({}, whole, comm::ReduceOp::kSum, "x"); });
      timed("reduce-scatter", (n - 1) / n,
            [&] { return all->reduce_scatter({}, share, whole, counts, comm::ReduceOp::kSum, "x"); });
      timed("all-gather", (n - 1) / n, [&] { return all->all_gather({}, whole, share, counts, "x"); });
      gpu->synchronize({});
      for (const View& v : {whole, share}) gpu->release(v.data, size);
    }
  }
  gpu->accompany({});
  return 0;
}

}  // namespace
}  // namespace banyan::perf

int main(int argc, char** argv) {
  using namespace banyan;
  const std::string command = argc > 1 ? argv[1] : "", option = argc > 2 ? argv[2] : "";
  const bool small = option == "--small", plain = option.empty() || small;
  try {
    if (command == "devices" && option.empty()) return perf::devices();
    if (command == "ops" && plain) return perf::ops(small);
    if (command == "comm" && plain) return perf::collectives(small);
    const std::int64_t most = option.empty() ? INT64_MAX : std::atoll(option.c_str());
    if (command == "check" && most > 0) return perf::check(most);
    fmt::print(stderr, "bench-gpu devices | check [MOST] | ops [--small] | comm [--small]\n");
    return static_cast<int>(ExitCode::kUsage);
  } catch (const Error& e) {
    fmt::print(stderr, "bench-gpu: {}\n", e.what());
    return static_cast<int>(e.code());
  } catch (const std::exception& e) {
    fmt::print(stderr, "bench-gpu: {}\n", e.what());
    return static_cast<int>(ExitCode::kBug);
  }
}
