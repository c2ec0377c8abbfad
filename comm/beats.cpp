#include "comm/beats.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace banyan::comm {
namespace {

constexpr std::int64_t kLongestAge = 1000LL * 3600 * 24 * 365;  // milliseconds

std::int64_t age(const Beat& beat) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - beat.when).count();
}

}  // namespace

const Beat& Beats::add(int rank, std::string_view where) {
  Beat& beat = of_[rank];
  ++beat.count;
  beat.where.assign(where);
  beat.when = Clock::now();
  return beat;
}

bool Beats::note(int rank, const Beat& beat) {
  Beat& known = of_[rank];
  if (known.count >= beat.count) return false;
  known = beat;
  return true;
}

const Beat* Beats::of(int rank) const {
  const auto at = of_.find(rank);
  return at == of_.end() ? nullptr : &at->second;
}

std::string Beats::pack(const Beat& beat) {
  return fmt::format("{} {} {}", beat.count, std::max<std::int64_t>(0, age(beat)), beat.where);
}

Beat Beats::unpack(std::string_view text) {
  Beat beat;
  std::int64_t ago = 0;
  const char* const end = text.data() + text.size();
  const auto count = std::from_chars(text.data(), end, beat.count);
  if (count.ec != std::errc{} || count.ptr == end || *count.ptr != ' ') return {};
  const auto milliseconds = std::from_chars(count.ptr + 1, end, ago);
  if (milliseconds.ec != std::errc{} || milliseconds.ptr == end || *milliseconds.ptr != ' ') return {};
  if (ago < 0 || ago > kLongestAge) return {};
  beat.where.assign(milliseconds.ptr + 1, end);
  beat.when = Clock::now() - std::chrono::milliseconds(ago);
  return beat;
}

std::string last_heard(const Beat& beat) {
  return fmt::format("it was last heard of {:.1f} s ago, at {}", static_cast<double>(age(beat)) / 1000, beat.where);
}

}  // namespace banyan::comm
