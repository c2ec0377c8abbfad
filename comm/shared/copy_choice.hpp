// How a piece gets into the window.  Two cores that share a cache hand it over through that cache; between cores that
// do not, taking lines away from their last reader again costs more than going past the caches to memory.
// Which of the two it is depends on where the ranks run, and nobody tells; so it is measured while the window is used.
// Results do not depend on it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace banyan::comm {

class CopyChoice {
 public:
  /// Pieces of fewer bytes always go through the caches.
  static constexpr std::size_t kFrom = 16 << 10;

  /// Copies a piece into the ring, as is best at the time.
  void copy(std::byte* to, const std::byte* from, std::size_t bytes) const;
  /// `bytes` were published or folded in this time, by an operation in which every member does both.
  void note(std::size_t bytes, double seconds);
  bool streams() const { return streams_; }

 private:
  // Both ways in turn for a little, then the better one for long: a share of 1 in 16 is spent on looking.
  static constexpr std::uint64_t kTrial = 4 << 20, kSpell = 128 << 20;
  enum class Phase { kCaches, kMemory, kBetter } phase_ = Phase::kCaches;
  bool streams_ = false;
  std::uint64_t bytes_ = 0;  // of this phase
  double seconds_ = 0;
  std::array<double, 2> cost_{};  // seconds per byte of the last trials
};

}  // namespace banyan::comm
