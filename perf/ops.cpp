// bench ops: the time of every operation case, beside the machine's peak measured in the same run.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "perf/commands.hpp"
#include "perf/peak.hpp"
#include "src/base/error.hpp"
#include "tests/kernels/op_cases.hpp"

namespace banyan::perf {
namespace {

using kernels::test::Bound;
using kernels::test::OpCase;

struct Timing {
  double best = 0, median = 0;  ///< seconds of one call
  int calls = 0;
};

/// Calls until `budget` seconds are spent, at least five times.  On a machine that others use too, the best call says
/// what the code can do and the median what it got.
Timing measure(kernels::Backend& backend, const OpCase& c, double budget, Clock clock) {
  Bound tensors(c.tensors, c.initial());
  c.run(backend, tensors);
  c.run(backend, tensors);
  std::vector<double> seconds;
  const double end = now() + budget;
  while (seconds.size() < 5 || (now() < end && seconds.size() < 10000)) {
    const double begin = now(clock);
    c.run(backend, tensors);
    seconds.push_back(now(clock) - begin);
  }
  std::sort(seconds.begin(), seconds.end());
  return {seconds.front(), seconds[seconds.size() / 2], static_cast<int>(seconds.size())};
}

/// The share of the time that the machine at its peak would need: by arithmetic or by memory, whichever takes longer.
double fraction_of_peak(const OpCase& c, const Peak& peak, double seconds) {
  return std::max(c.flops / peak.flops, c.bytes / peak.bandwidth) / seconds;
}

}  // namespace

int bench_ops(const std::vector<std::string>& words) {
  if (std::find(words.begin(), words.end(), "--help") != words.end()) {
    fmt::print(
        "bench ops [--threads N] [--filter TEXT] [--ms N] [--clock wall|cpu] [--json FILE]\n"
        "  --threads  OpenMP threads; 0 (default): all cores the process may run on\n"
        "  --filter   only cases whose name contains TEXT, for example \"gemm NT\"\n"
        "  --ms       milliseconds spent on a case, default 300\n"
        "  --clock    cpu: time the thread had a processor, for a busy machine; needs --threads 1\n"
        "  --json     also writes the figures to FILE\n");
    return 0;
  }
  const Options options(words, {"--threads", "--filter", "--ms", "--clock", "--json"});
  const std::string filter = options.text("--filter", "");
  const double budget = static_cast<double>(options.number("--ms", 300)) / 1000;
  const kernels::CpuOptions cpu{.threads = static_cast<int>(options.number("--threads", 0)), .max_isa = ""};
  const auto backend = kernels::make_cpu_backend(cpu);
  const int threads = cpu.threads > 0 ? cpu.threads : kernels::available_cores();
  const std::string clock_name = options.text("--clock", "wall");
  if (clock_name != "wall" && clock_name != "cpu") throw UsageError("--clock = {}; use wall or cpu", clock_name);
  const Clock clock = clock_name == "cpu" ? Clock::kProcessor : Clock::kWall;
  if (clock == Clock::kProcessor && threads != 1)
    throw UsageError("--clock cpu sees the time of one thread; add --threads 1");
  const Peak peak = measure_peak(threads, clock);
  fmt::print("{}\npeak: {:.1f} GFLOP/s fp32, {:.1f} GB/s triad\n", backend->describe(), peak.flops / 1e9,
             peak.bandwidth / 1e9);
  fmt::print("{:<58}{:>10}{:>10}{:>10}{:>9}{:>8}{:>8}\n", "case", "best us", "median us", "GFLOP/s", "GB/s", "best %",
             "med. %");
  nlohmann::json report{{"backend", backend->describe()},
                        {"threads", threads},
                        {"clock", clock_name},
                        {"peak_flops", peak.flops},
                        {"peak_bandwidth", peak.bandwidth},
                        {"cases", nlohmann::json::array()}};
  for (const OpCase& c : kernels::test::bench_cases()) {
    if (c.name().find(filter) == std::string::npos) continue;
    const Timing t = measure(*backend, c, budget, clock);
    const double best = fraction_of_peak(c, peak, t.best), median = fraction_of_peak(c, peak, t.median);
    fmt::print("{:<58}{:>10.1f}{:>10.1f}{:>10.1f}{:>9.1f}{:>7.0f}%{:>7.0f}%\n", c.name(), t.best * 1e6, t.median * 1e6,
               c.flops / t.best / 1e9, c.bytes / t.best / 1e9, 100 * best, 100 * median);
    std::fflush(stdout);
    report["cases"].push_back({{"op", c.op},
                               {"shape", c.shape},
                               {"seconds_best", t.best},
                               {"seconds_median", t.median},
                               {"calls", t.calls},
                               {"flops", c.flops},
                               {"bytes", c.bytes},
                               {"fraction_of_peak_best", best},
                               {"fraction_of_peak_median", median}});
  }
  if (const std::string path = options.text("--json", ""); !path.empty()) {
    std::ofstream out(path);
    out << report.dump(1) << "\n";
    if (!out.flush()) throw IoError("the figures could not be written to {}; check the path and the space left", path);
  }
  return 0;
}

}  // namespace banyan::perf
