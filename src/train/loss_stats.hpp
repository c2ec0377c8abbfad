// Running mean and deviation of the loss, for a z-score that tells a spike from noise.
#pragma once

#include <cstddef>
#include <deque>

namespace banyan::train {

class LossStats {
 public:
  /// How many deviations `loss` lies above the mean of the last kWindow losses (0 until there are enough of them), then
  /// takes it into the window.
  double z_score(double loss);

 private:
  static constexpr std::size_t kWindow = 100, kEnough = 10;
  std::deque<double> last_;
};

}  // namespace banyan::train
