// How long the thread that does a rank's work may give no sign of life: learned from how long it was quiet before,
// apart for each phase of the job.  Pure: who calls brings the time.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "src/base/section.hpp"

namespace banyan::job {

/// What a rank is at.
enum class Phase : std::uint8_t { kNone, kSetup, kLoad, kStep, kEvaluate, kSave, kGenerate };
inline constexpr int kPhases = 7;
/// "save"
std::string_view name_of(Phase phase);

/// What can be seen of a rank from outside.
struct Signs {
  Phase phase = Phase::kNone;
  std::uint64_t phases = 0;  ///< entered and left so far
  std::uint64_t life = 0;    ///< any other signs so far
  std::uint32_t left = 0;    ///< one bit for each phase that was left at least once, be it between two looks
};

class Quiet {
 public:
  /// `floor`: the least limit.
  Quiet(Seconds floor, Clock::time_point now) : floor_(floor), last_(now) {}

  /// A look at the rank, every kLongestLook or more often.  One that comes late counts for no more than that, so that a
  /// process that was stopped for a while does not find itself guilty.
  void look(const Signs& signs, Clock::time_point now);

  /// Since the last sign of life that was seen.
  Seconds quiet() const { return quiet_; }
  /// What that may be: kTimes the longest seen in this phase, at least the floor, kStorage floors in a save; kUnseen
  /// floors in a phase that was never left.  Without limit outside of phases.  A phase that was left between two looks
  /// is known, too: it took less than the time between them.
  Seconds limit() const;
  bool expired() const { return quiet_ > limit(); }
  Phase phase() const { return signs_.phase; }

  static constexpr double kTimes = 5, kUnseen = 30, kStorage = 10;
  static constexpr Seconds kLongestLook{2};

 private:
  struct Seen {
    Seconds longest{0};
    bool left = false;
  };
  const Seconds floor_;
  Clock::time_point last_;
  Signs signs_;
  Seconds quiet_{0};
  std::array<Seen, kPhases> seen_{};
};

}  // namespace banyan::job
