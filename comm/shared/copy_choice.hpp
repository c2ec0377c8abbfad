// How a piece gets into the window.  Two cores that share a cache hand it over through that cache; between cores that
// do not, taking lines away from their last reader again costs more than going past the caches to memory.
// Which of the two it is depends on where the ranks run, and nobody tells; so it is measured while the window is used.
// Results do not depend on it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace banyan::comm {

/// Copies without leaving a trace in the caches, where the processor can.
void copy_past_caches(std::byte* to, const std::byte* from, std::size_t bytes);

class CopyChoice {
 public:
  /// Pieces of fewer bytes always go through the caches.
  static constexpr std::size_t kFrom = 16 << 10;
  enum class Work : std::uint8_t { kPublish, kFold };

  /// Of a window whose rings have so many bytes.
  explicit CopyChoice(std::size_t ring_bytes) : settle_bytes_(ring_bytes) {}

  /// Copies a piece into the ring, as is best at the time.
  void copy(std::byte* to, const std::byte* from, std::size_t bytes) const;
  /// `bytes` were published or folded in this time.  What was folded counts where all members do the same, so that it
  /// was published in the same way.
  void note(Work work, std::size_t bytes, double seconds);
  bool streams() const { return streams_; }

 private:
  // Both ways in turn for a little, then the better one for long: a share of 1 in 40 or so is spent on looking.
  enum class Phase : std::uint8_t { kCaches, kMemory, kBetter };
  static constexpr std::uint64_t kSpell = 256 << 20;  // published bytes
  static constexpr std::size_t kSamples = 16;         // of each kind of work
  /// Seconds per byte.  The middle one counts: a rank that was put aside says nothing about memory.
  struct Samples {
    std::array<double, kSamples> values;
    std::size_t count = 0;
    void add(double value) {
      if (count < kSamples) values[count++] = value;
    }
    double middle();
  };
  /// Going past the caches costs readers, too; what is not known of them is made up for by this.
  static constexpr double kClearly = 3;
  void next_phase();

  const std::uint64_t settle_bytes_;  ///< published until the ring is as this way of copying leaves it
  Phase phase_ = Phase::kCaches;
  bool streams_ = false;
  std::uint64_t published_ = 0;     ///< bytes in this phase
  std::array<Samples, 2> samples_;  ///< by Work
  double through_caches_ = 0;       ///< the cost that the last trial found
};

}  // namespace banyan::comm
