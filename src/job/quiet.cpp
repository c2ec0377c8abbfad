#include "src/job/quiet.hpp"

#include <algorithm>
#include <cstddef>

namespace banyan::job {
namespace {

constexpr std::array<std::string_view, kPhases> kNames{"no phase", "setup", "load",    "step",
                                                       "evaluate", "save",  "generate"};

}  // namespace

std::string_view name_of(Phase phase) { return kNames[static_cast<std::size_t>(phase)]; }

void Quiet::look(const Signs& signs, Clock::time_point now) {
  quiet_ += std::clamp(Seconds(now - last_), Seconds::zero(), kLongestLook);
  last_ = now;
  for (std::size_t phase = 0; phase < seen_.size(); ++phase) seen_[phase].left |= (signs.left >> phase & 1) != 0;
  if (signs.phases == signs_.phases && signs.life == signs_.life) return;
  Seconds& longest = seen_[static_cast<std::size_t>(signs_.phase)].longest;
  longest = std::max(longest, quiet_);
  signs_ = signs;
  quiet_ = Seconds::zero();
}

Seconds Quiet::limit() const {
  if (signs_.phase == Phase::kNone) return Seconds::max();
  const Seen& seen = seen_[static_cast<std::size_t>(signs_.phase)];
  if (!seen.left) return std::max(kTimes * seen.longest, kUnseen * floor_);
  return std::max(kTimes * seen.longest, (signs_.phase == Phase::kSave ? kStorage : 1) * floor_);
}

}  // namespace banyan::job
