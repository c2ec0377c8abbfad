// Stores that leave no trace in the caches, where the processor has them.
#pragma once

#include <cstddef>
#include <cstring>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace banyan::kernels::cpu {

inline constexpr std::size_t kLineBytes = 64;  ///< of the caches

/// Copies one line; both addresses are multiples of kLineBytes.
inline void stream_line(void* to, const void* line) {
#if defined(__AVX512F__)
  _mm512_stream_si512(static_cast<__m512i*>(to), _mm512_load_si512(line));
#elif defined(__SSE2__)
  for (std::size_t i = 0; i < kLineBytes / sizeof(__m128i); ++i)
    _mm_stream_si128(static_cast<__m128i*>(to) + i, _mm_load_si128(static_cast<const __m128i*>(line) + i));
#else
  std::memcpy(to, line, kLineBytes);
#endif
}

/// Before whatever tells other threads that the lines are there.
inline void end_streaming() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace banyan::kernels::cpu
