#include "perf/peak.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <memory>

namespace banyan::perf {
namespace {

constexpr int kLanes = 16, kChains = 10;  // ten independent chains hide the latency of the multiply-add
using Vector = float __attribute__((vector_size(kLanes * sizeof(float))));

/// Multiply-adds of one thread; the result is returned so that nothing is removed.
__attribute__((noinline)) float chains(long rounds, float seed) {
  Vector x0{}, x1 = x0 + 1, x2 = x0 + 2, x3 = x0 + 3, x4 = x0 + 4, x5 = x0 + 5, x6 = x0 + 6, x7 = x0 + 7, x8 = x0 + 8,
               x9 = x0 + 9;  // all different, or the compiler would compute one
  const Vector factor = Vector{} + seed, term = Vector{} + 1e-3f;
  for (long i = 0; i < rounds; ++i) {
    x0 = x0 * factor + term, x1 = x1 * factor + term, x2 = x2 * factor + term, x3 = x3 * factor + term;
    x4 = x4 * factor + term, x5 = x5 * factor + term, x6 = x6 * factor + term, x7 = x7 * factor + term;
    x8 = x8 * factor + term, x9 = x9 * factor + term;
  }
  const Vector sum = x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7 + x8 + x9;
  float total = 0;
  for (int k = 0; k < kLanes; ++k) total += sum[k];
  return total;
}

double measure_flops(int threads, Clock clock) {
  constexpr long rounds = 1000000;
  double best = 0;
  for (int repeat = 0; repeat < 7; ++repeat) {
    float sink = 0;
    const double begin = now(clock);
#pragma omp parallel num_threads(threads) reduction(+ : sink)
    sink += chains(rounds, 0.999f);
    const double seconds = now(clock) - begin;
    if (sink != 0) best = std::max(best, 2.0 * kLanes * kChains * static_cast<double>(rounds) * threads / seconds);
  }
  return best;
}

double measure_bandwidth(int threads, Clock clock) {
  constexpr long count = 16L << 20;
  const std::unique_ptr<float[]> a(new float[count]), b(new float[count]), c(new float[count]);
  float *const pa = a.get(), *const pb = b.get(), *const pc = c.get();
#pragma omp parallel for simd num_threads(threads) schedule(static)
  for (long i = 0; i < count; ++i) pa[i] = 0, pb[i] = 1, pc[i] = 2;
  double best = 0;
  for (int repeat = 0; repeat < 7; ++repeat) {
    const double begin = now(clock);
#pragma omp parallel for simd num_threads(threads) schedule(static)
    for (long i = 0; i < count; ++i) pa[i] = pb[i] + 3.0f * pc[i];
    best = std::max(best, 3.0 * sizeof(float) * static_cast<double>(count) / (now(clock) - begin));
  }
  return best;
}

}  // namespace

double now(Clock clock) {
  if (clock == Clock::kProcessor) {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Peak measure_peak(int threads, Clock clock) {
  return {measure_flops(threads, clock), measure_bandwidth(threads, clock)};
}

}  // namespace banyan::perf
