// How work is divided among the threads of a rank.  Items are handed out in whole, so a result depends neither on the
// number of threads nor on which thread took what, as long as an item writes only what is its own.
#pragma once

#include <algorithm>
#include <cstdint>

namespace banyan::kernels::cpu {

/// Waking the other threads costs about as much as touching this many floats.
inline constexpr std::int64_t kWorthThreads = 16 * 1024;

/// One copy of a loop's machine code: of two, the compiler may fuse a multiplication with an addition in one and not in
/// the other, and the result would depend on which of them a number of threads leads to.
#if defined(__clang__)
#define BANYAN_ONE_COPY [[gnu::noinline]]
#else
#define BANYAN_ONE_COPY [[gnu::noinline, gnu::noclone]]
#endif

template <class Body>
BANYAN_ONE_COPY void run_items(std::int64_t begin, std::int64_t end, const Body& body) {
  for (std::int64_t i = begin; i < end; ++i) body(i);
}

/// body(i) for every i in [0, items), in contiguous runs; `work` = floats touched by all of it.
template <class Body>
void parallel_for(int threads, std::int64_t items, std::int64_t work, const Body& body) {
  if (threads <= 1 || items <= 1 || work < kWorthThreads) return run_items(0, items, body);
  const std::int64_t runs = std::min<std::int64_t>(threads, items);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
  for (std::int64_t r = 0; r < runs; ++r) run_items(items * r / runs, items * (r + 1) / runs, body);
}

/// The same for items of very different cost: each goes to the next free thread.
template <class Body>
void parallel_for_uneven(int threads, std::int64_t items, std::int64_t work, const Body& body) {
  if (threads <= 1 || items <= 1 || work < kWorthThreads) return run_items(0, items, body);
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (std::int64_t i = 0; i < items; ++i) run_items(i, i + 1, body);
}

/// body(begin, end) over pieces of [0, count).  Pieces start at multiples of 4096, whatever the number of threads.
template <class Body>
void parallel_pieces(int threads, std::int64_t count, const Body& body) {
  constexpr std::int64_t piece = 4096;
  parallel_for(threads, (count + piece - 1) / piece, count,
               [&](std::int64_t i) { body(i * piece, std::min(count, (i + 1) * piece)); });
}

}  // namespace banyan::kernels::cpu
