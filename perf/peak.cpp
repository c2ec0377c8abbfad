#include "perf/peak.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>

#include "src/base/error.hpp"

namespace banyan::perf {
namespace {

constexpr int kLanes = 16, kChains = 10;  // ten independent chains hide the latency of the multiply-add
using Vector = float __attribute__((vector_size(kLanes * sizeof(float))));

// The peak is that of this machine's own instructions, whatever the program is compiled for.
#if defined(__x86_64__) && !defined(__clang__)  // clang's sanitizers do not bear functions that are chosen at the start
#define BANYAN_EVERY_MACHINE __attribute__((target_clones("avx512f", "fma", "default")))
#else
#define BANYAN_EVERY_MACHINE
#endif

/// Multiply-adds of one thread; the result is returned so that nothing is removed.
BANYAN_EVERY_MACHINE __attribute__((noinline)) float chains(long rounds, float seed) {
  // All different and none the fixed point 1, or the compiler would compute fewer of them.
  const Vector two = Vector{} + 2.0f;
  Vector x0 = two, x1 = two + 1, x2 = two + 2, x3 = two + 3, x4 = two + 4, x5 = two + 5, x6 = two + 6, x7 = two + 7,
         x8 = two + 8, x9 = two + 9;
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
  constexpr long rounds = 8000000;  // long enough for the clock to settle
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

#if defined(__x86_64__)
/// Dot products of one thread, with all sums in registers.
__attribute__((target("avx512f,avx512bf16"), noinline)) float bf16_chains(long rounds) {
  __m512 sum[kChains];
  for (int c = 0; c < kChains; ++c) sum[c] = _mm512_set1_ps(static_cast<float>(c));
  const __m512bh left = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f));
  for (long i = 0; i < rounds; ++i)
#pragma GCC unroll 10
    for (int c = 0; c < kChains; ++c) sum[c] = _mm512_dpbf16_ps(sum[c], left, left);
  float total = 0;
  for (const __m512 &v : sum)
    for (int k = 0; k < kLanes; ++k) total += v[k];
  return total;
}
#endif

BANYAN_EVERY_MACHINE __attribute__((noinline)) float added_up(const float *p, long count) {
  constexpr int streams = 8;
  Vector sum[streams]{};
  for (long i = 0; i + kLanes * streams <= count; i += kLanes * streams)
    for (int s = 0; s < streams; ++s) {
      Vector v;
      std::memcpy(&v, p + i + s * kLanes, sizeof v);
      sum[s] += v;
    }
  float total = 0;
  for (const Vector &v : sum)
    for (int k = 0; k < kLanes; ++k) total += v[k];
  return total;
}

struct Free {
  void operator()(float *p) const { std::free(p); }
};
using Array = std::unique_ptr<float, Free>;

/// In huge pages where the system grants them, as the program's own large arrays are.
Array huge_array(long count) {
  constexpr std::size_t page = std::size_t{2} << 20;
  const std::size_t bytes = (static_cast<std::size_t>(count) * sizeof(float) + page - 1) / page * page;
  Array array(static_cast<float *>(std::aligned_alloc(page, bytes)));
  if (!array) throw ConfigError("there is no memory for the {} bytes of an array to measure with", bytes);
  madvise(array.get(), bytes, MADV_HUGEPAGE);
  return array;
}

double measure_bandwidth(int threads, Clock clock) {
  constexpr long count = 16L << 20;
  const Array a = huge_array(count), b = huge_array(count), c = huge_array(count);
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

double measure_bf16_peak(int threads) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bf16")) {
    constexpr long rounds = 4000000;
    double best = 0;
    for (int repeat = 0; repeat < 7; ++repeat) {
      float sink = 0;
      const double begin = now();
#pragma omp parallel num_threads(threads) reduction(+ : sink)
      sink += bf16_chains(rounds);
      // An instruction is 16 sums of two products.
      if (sink != 0)
        best = std::max(best, 4.0 * kLanes * kChains * static_cast<double>(rounds) * threads / (now() - begin));
    }
    return best;
  }
#endif
  return 0;
}

double measure_reading_peak(int threads) {
  constexpr long count = 64L << 20;
  const Array a = huge_array(count);
  float *const p = a.get();
#pragma omp parallel for simd num_threads(threads) schedule(static)
  for (long i = 0; i < count; ++i) p[i] = 1;
  double best = 0;
  for (int repeat = 0; repeat < 7; ++repeat) {
    float sink = 0;
    const double begin = now();
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : sink)
    for (int t = 0; t < threads; ++t) sink += added_up(p + count * t / threads, count / threads);
    if (sink != 0) best = std::max(best, sizeof(float) * static_cast<double>(count) / (now() - begin));
  }
  return best;
}

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
