#include "comm/shared/copy_choice.hpp"

#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace banyan::comm {
namespace {

// Pieces begin at multiples of a cache line.
void copy_past_caches(std::byte* to, const std::byte* from, std::size_t bytes) {
#if defined(__SSE2__)
  std::size_t at = 0;
  for (; at + 64 <= bytes; at += 64) {
    const auto load = [&](std::size_t i) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at + 16 * i));
    };
    const __m128i a = load(0), b = load(1), c = load(2), d = load(3);
    auto* out = reinterpret_cast<__m128i*>(to + at);
    _mm_stream_si128(out, a);
    _mm_stream_si128(out + 1, b);
    _mm_stream_si128(out + 2, c);
    _mm_stream_si128(out + 3, d);
  }
  std::memcpy(to + at, from + at, bytes - at);
  _mm_sfence();  // before the flag
#else
  std::memcpy(to, from, bytes);
#endif
}

}  // namespace

void CopyChoice::copy(std::byte* to, const std::byte* from, std::size_t bytes) const {
  if (streams_ && bytes >= kFrom)
    copy_past_caches(to, from, bytes);
  else if (bytes > 0)
    std::memcpy(to, from, bytes);
}

void CopyChoice::note(std::size_t bytes, double seconds) {
  bytes_ += bytes;
  // The first pieces after a change find the window as the other way left it.
  if (phase_ == Phase::kBetter || bytes_ > kTrial / 4) seconds_ += seconds;
  if (bytes_ < (phase_ == Phase::kBetter ? kSpell : kTrial)) return;
  switch (phase_) {
    case Phase::kCaches:
      cost_[0] = seconds_;
      phase_ = Phase::kMemory;
      streams_ = true;
      break;
    case Phase::kMemory:
      cost_[1] = seconds_;
      phase_ = Phase::kBetter;
      streams_ = cost_[1] < cost_[0];
      break;
    case Phase::kBetter:
      phase_ = Phase::kCaches;
      streams_ = false;
      break;
  }
  bytes_ = 0;
  seconds_ = 0;
}

}  // namespace banyan::comm
