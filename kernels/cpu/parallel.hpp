// How work is divided among the threads of a rank.  Items are handed out in whole, so a result depends neither on the
// number of threads nor on which thread took what, as long as an item writes only what is its own.
#pragma once

#include <algorithm>
#include <cstdint>

namespace banyan::kernels::cpu {

/// Waking the other threads costs about as much as touching this many floats.
inline constexpr std::int64_t kWorthThreads = 16 * 1024;

/// body(i) for every i in [0, items), in contiguous runs; `work` = floats touched by all of it.
template <class Body>
void parallel_for(int threads, std::int64_t items, std::int64_t work, const Body& body) {
  if (threads <= 1 || items <= 1 || work < kWorthThreads) {
    for (std::int64_t i = 0; i < items; ++i) body(i);
    return;
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (std::int64_t i = 0; i < items; ++i) body(i);
}

/// The same for items of very different cost: each goes to the next free thread.
template <class Body>
void parallel_for_uneven(int threads, std::int64_t items, std::int64_t work, const Body& body) {
  if (threads <= 1 || items <= 1 || work < kWorthThreads) {
    for (std::int64_t i = 0; i < items; ++i) body(i);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (std::int64_t i = 0; i < items; ++i) body(i);
}

/// body(begin, end) over pieces of [0, count).  Pieces start at multiples of 4096, whatever the number of threads.
template <class Body>
void parallel_pieces(int threads, std::int64_t count, const Body& body) {
  constexpr std::int64_t piece = 4096;
  parallel_for(threads, (count + piece - 1) / piece, count,
               [&](std::int64_t i) { body(i * piece, std::min(count, (i + 1) * piece)); });
}

}  // namespace banyan::kernels::cpu
