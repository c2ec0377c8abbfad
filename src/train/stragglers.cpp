#include "src/train/stragglers.hpp"

#include <algorithm>
#include <map>

namespace banyan::train {
namespace {

/// Of two in the middle the smaller one, so that of two ranks the slower can be told.
double lower_median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + (std::ssize(values) - 1) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

void WorkTimes::add(double seconds) { last_[count_++ % last_.size()] = seconds; }

double WorkTimes::typical() const {
  return lower_median({last_.begin(), last_.begin() + static_cast<std::ptrdiff_t>(std::min(count_, last_.size()))});
}

std::optional<Straggler> Stragglers::judge(std::span<const double> seconds) {
  std::map<int, std::vector<double>> alike;
  for (std::size_t r = 0; r < kind_.size(); ++r)
    if (kind_[r] >= 0) alike[kind_[r]].push_back(seconds[r]);
  std::map<int, double> usual;
  for (const auto& [kind, times] : alike) usual[kind] = lower_median(times);
  std::optional<Straggler> slowest;
  for (std::size_t r = 0; r < kind_.size(); ++r) {
    if (kind_[r] < 0 || usual[kind_[r]] <= 0) continue;
    const double factor = seconds[r] / usual[kind_[r]];
    if (factor > kSlow)
      slow_[r] = {slow_[r].windows + 1, slow_[r].seconds + kWindow * seconds[r]};
    else
      slow_[r] = {};
    const bool persistent = slow_[r].windows >= kWindows && slow_[r].seconds >= kEnough;
    if (persistent && !told_[r] && (!slowest || factor > slowest->factor)) slowest = {r, factor};
  }
  if (slowest) told_[slowest->rank] = true;
  return slowest;
}

}  // namespace banyan::train
