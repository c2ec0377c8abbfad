#include "comm/shared/copy_choice.hpp"

#include <algorithm>
#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace banyan::comm {
void copy_past_caches(std::byte* to, const std::byte* from, std::size_t bytes) {
#if defined(__SSE2__)
  constexpr std::size_t line = 64;
  const std::size_t head = std::min(bytes, (line - reinterpret_cast<std::uintptr_t>(to) % line) % line);
  if (head > 0) std::memcpy(to, from, head);
  std::size_t at = head;
  for (; at + line <= bytes; at += line) {
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
  if (at < bytes) std::memcpy(to + at, from + at, bytes - at);
  _mm_sfence();  // before whatever tells others that it is there
#else
  if (bytes > 0) std::memcpy(to, from, bytes);
#endif
}

void CopyChoice::copy(std::byte* to, const std::byte* from, std::size_t bytes) const {
  if (streams_ && bytes >= kFrom)
    copy_past_caches(to, from, bytes);
  else if (bytes > 0)
    std::memcpy(to, from, bytes);
}

double CopyChoice::Samples::middle() {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(count / 2);
  std::nth_element(values.begin(), middle, values.begin() + static_cast<std::ptrdiff_t>(count));
  return *middle;
}

void CopyChoice::note(Work work, std::size_t bytes, double seconds) {
  if (work == Work::kPublish) published_ += bytes;
  if (phase_ == Phase::kBetter) {
    if (published_ >= kSpell) next_phase();
    return;
  }
  if (published_ < settle_bytes_) return;
  Samples& published = samples_[0];
  Samples& folded = samples_[1];
  (work == Work::kPublish ? published : folded).add(seconds / static_cast<double>(bytes));
  if (published.count == kSamples && (folded.count == 0 || folded.count == kSamples)) next_phase();
}

void CopyChoice::next_phase() {
  const bool both = samples_[1].count > 0;
  double cost = 0;
  for (Samples& s : samples_)
    if (s.count > 0) cost += s.middle();
  switch (phase_) {
    case Phase::kCaches:
      through_caches_ = cost;
      phase_ = Phase::kMemory;
      streams_ = true;
      break;
    case Phase::kMemory:
      phase_ = Phase::kBetter;
      streams_ = (both ? cost : kClearly * cost) < through_caches_;
      break;
    case Phase::kBetter:
      phase_ = Phase::kCaches;
      streams_ = false;
      break;
  }
  published_ = 0;
  samples_ = {};
}

}  // namespace banyan::comm
