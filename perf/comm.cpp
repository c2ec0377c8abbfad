// bench comm: what messages and collectives cost between the ranks it is started on (mpirun -n N bench comm).
// Time is that of the slowest rank, median over the calls; with one rank there is nothing to measure.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>

#include "comm/communicator.hpp"
#include "kernels/backend.hpp"
#include "perf/commands.hpp"
#include "src/base/error.hpp"

namespace banyan::perf {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// One kind of traffic; `bytes_moved` is what each rank sends at least, as a share of the message.
struct Pattern {
  const char* name;
  double bytes_moved;
  std::function<void(std::vector<float>& data, std::vector<float>& room)> run;
};

std::vector<Pattern> patterns(comm::Communicator& c) {
  const int p = c.size(), peer = c.rank() ^ 1;
  const double others = static_cast<double>(p - 1) / p;
  const auto view = [](std::vector<float>& v) { return View(v.data(), {static_cast<std::int64_t>(v.size())}); };
  const auto counts = [p](const std::vector<float>& v) {
    std::vector<std::int64_t> result;
    const auto n = static_cast<std::int64_t>(v.size());
    for (std::int64_t i = 0; i < p; ++i) result.push_back((i + 1) * n / p - i * n / p);
    return result;
  };
  const auto own = [&c, counts, view](std::vector<float>& v) {
    const auto all = counts(v);
    const std::int64_t begin = std::accumulate(all.begin(), all.begin() + c.rank(), std::int64_t{0});
    return view(v).rows(begin, begin + all[static_cast<std::size_t>(c.rank())]);
  };
  return {
      {"exchange", 1.0,
       [=, &c](auto& data, auto& room) {
         if (peer >= p) return;
         Event in = c.receive({}, view(room), peer, 0, "data"), out = c.send({}, view(data), peer, 0, "data");
         in.wait();
         out.wait();
       }},
      {"all-reduce", 2 * others,
       [=, &c](auto& data, auto&) { c.all_reduce({}, view(data), comm::ReduceOp::kSum, "data").wait(); }},
      {"reduce-scatter", others,
       [=, &c](auto& data, auto&) {
         c.reduce_scatter({}, own(data), view(data), counts(data), comm::ReduceOp::kSum, "data").wait();
       }},
      {"all-gather", others,
       [=, &c](auto& data, auto&) { c.all_gather({}, view(data), own(data), counts(data), "data").wait(); }},
      {"broadcast", 1.0, [=, &c](auto& data, auto&) { c.broadcast({}, view(data), 0, "data").wait(); }},
  };
}

/// Median over calls of the slowest rank's time.
double measure(comm::Communicator& c, const Pattern& pattern, std::vector<float>& data, std::vector<float>& room,
               int calls) {
  std::vector<double> mine;
  for (int i = 0; i < calls + 2; ++i) {
    if (i % 8 == 0) c.barrier("start");
    const double begin = seconds_now();
    pattern.run(data, room);
    if (i >= 2) mine.push_back(seconds_now() - begin);
  }
  std::sort(mine.begin(), mine.end());
  return comm::all_reduce_value(c, mine[mine.size() / 2], comm::ReduceOp::kMax, "time");
}

}  // namespace

int bench_comm(const std::vector<std::string>& words) {
  if (std::find(words.begin(), words.end(), "--help") != words.end()) {
    fmt::print(
        "mpirun -n N bench comm [--max-bytes N] [--calls N] [--json FILE]\n"
        "  --max-bytes   largest message (default 16777216)\n"
        "  --calls       calls per size, fewer beyond 1 MiB (default 50)\n"
        "  --json        also write the figures to FILE\n");
    return 0;
  }
  const Options options(words, {"--max-bytes", "--calls", "--json"});
  const long largest = options.number("--max-bytes", 16 << 20), calls = options.number("--calls", 50);
  if (calls < 1 || largest < 4) throw UsageError("bench comm needs --calls of 1 or more and --max-bytes of 4 or more");

  const auto backend = kernels::make_cpu_backend({.threads = 1, .max_isa = ""});
  const auto world = comm::make_mpi_world();
  world->configure(
      {},
      [&](Queue q, View out, ConstView a, ConstView b, comm::ReduceOp op) {
        backend->reduce(q, out, a, b, static_cast<kernels::ReduceOp>(op));
      },
      nullptr);
  std::vector<int> ranks(static_cast<std::size_t>(world->size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  const auto c = world->group(ranks, 0, "bench");
  const bool speaks = world->rank() == 0;

  nlohmann::json rows = nlohmann::json::array();
  if (speaks)
    fmt::print(
        "{} ranks on {} nodes, {}; GB/s: bytes every rank must send at least, per second\n{:<16}{:>12}{:>14}{:>10}\n",
        world->size(), world->node(world->size() - 1) + 1, world->transport_name(), "", "bytes", "us", "GB/s");
  for (const Pattern& pattern : patterns(*c)) {
    for (long bytes = 4; bytes <= largest; bytes *= 8) {
      std::vector<float> data(static_cast<std::size_t>(bytes / 4), 1.0f), room(data.size());
      const int repeat = static_cast<int>(bytes > (1 << 20) ? std::max(5L, calls / 5) : calls);
      const double t = measure(*c, pattern, data, room, repeat);
      if (!speaks) continue;
      const double rate = pattern.bytes_moved * static_cast<double>(bytes) / t;
      fmt::print("{:<16}{:>12}{:>14.1f}{:>10.3f}\n", pattern.name, bytes, t * 1e6, rate * 1e-9);
      std::fflush(stdout);
      rows.push_back({{"pattern", pattern.name}, {"bytes", bytes}, {"seconds", t}, {"bytes_per_second", rate}});
    }
  }
  const std::string json = options.text("--json", "");
  if (speaks && !json.empty()) {
    std::ofstream file(json);
    file << nlohmann::json{{"bench", "comm"},
                           {"ranks", world->size()},
                           {"transport", world->transport_name()},
                           {"rows", rows}}
                .dump(1)
         << '\n';
    if (!file.flush()) throw IoError("cannot write {}", json);
  }
  return 0;
}

}  // namespace banyan::perf
