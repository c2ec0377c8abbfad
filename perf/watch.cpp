// bench watch: what it costs a rank to say where it is, and its watchdog to look.
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.hpp"
#include "perf/commands.hpp"
#include "src/base/section.hpp"
#include "src/job/watchdog.hpp"

namespace banyan::perf {
namespace {

constexpr double kStep = 0.010;  ///< seconds, of a fast step that costs are compared with

/// Least and median ns of one call over blocks of them.
template <class Call>
std::pair<double, double> time_of(long blocks, const Call& call) {
  constexpr int kCalls = 20000;
  std::vector<double> ns;
  for (long b = 0; b < std::max(blocks, 1L); ++b) {
    const Clock::time_point start = Clock::now();
    for (int i = 0; i < kCalls; ++i) call();
    ns.push_back(1e9 * Seconds(Clock::now() - start).count() / kCalls);
  }
  std::sort(ns.begin(), ns.end());
  return {ns.front(), ns[ns.size() / 2]};
}

}  // namespace

int bench_watch(const std::vector<std::string>& words) {
  const Options options(words, {"--blocks"});
  const long blocks = options.number("--blocks", 50);
  comm::run_loopback(1, [&](comm::World& world) {
    job::Watchdog watchdog(world);
    watchdog.start(Seconds(600), {}, 0);
    const auto row = [&](const char* what, std::pair<double, double> ns) {
      fmt::print("{:<48}{:8.1f} ns  median {:8.1f} ns  {:.5f} % of a step of {:.0f} ms\n", what, ns.first, ns.second,
                 100 * ns.second * 1e-9 / kStep, 1e3 * kStep);
    };
    row("a section opened and closed",
        time_of(blocks, [] { const Section section("what is waited for", Seconds(60)); }));
    row("a phase entered and left, with its section",
        time_of(blocks, [&] { const job::InPhase phase(watchdog, job::Phase::kStep); }));
    row("the next round of a phase", time_of(blocks, [&] { watchdog.enter(job::Phase::kEvaluate); }));
    job::Quiet quiet(Seconds(600), Clock::now());
    std::uint64_t round = 0;
    row("a look of the watchdog, two a second", time_of(blocks, [&] {
          world.overhear();
          quiet.look({job::Phase::kStep, ++round, world.signs_of_life(), 0}, Clock::now());
        }));
  });
  return 0;
}

}  // namespace banyan::perf
