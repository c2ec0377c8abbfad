// What this machine can do at most, measured here and now: figures mean little except as fractions of it.
#pragma once

namespace banyan::perf {

/// Time that passes, or time this thread had a processor: on a machine that others use too, only the second can be
/// repeated, and only one thread can be measured with it.
enum class Clock { kWall, kProcessor };
/// Seconds.
double now(Clock clock = Clock::kWall);

struct Peak {
  double flops = 0;      ///< fp32 fused multiply-adds per second, times two, by all threads
  double bandwidth = 0;  ///< bytes per second of a[i] = b[i] + s * c[i] on arrays far larger than the caches
};

/// Takes about half a second.
Peak measure_peak(int threads, Clock clock = Clock::kWall);
/// Dot products of pairs of bf16 added up in fp32, in floating-point operations per second of wall time by all threads;
/// 0 where the processor has no such instruction.
double measure_bf16_peak(int threads);
/// Bytes per second of adding up an array far larger than the caches, of wall time by all threads.
double measure_reading_peak(int threads);

}  // namespace banyan::perf
