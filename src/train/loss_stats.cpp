#include "src/train/loss_stats.hpp"

#include <cmath>

namespace banyan::train {

double LossStats::z_score(double loss) {
  double z = 0;
  if (last_.size() >= kEnough) {
    const double n = static_cast<double>(last_.size());
    double mean = 0, squares = 0;
    for (double x : last_) mean += x;
    mean /= n;
    for (double x : last_) squares += (x - mean) * (x - mean);
    const double deviation = std::sqrt(squares / (n - 1));
    // Below this the losses are equal but for the rounding of their sum.
    if (deviation > 1e-12 * std::abs(mean)) z = (loss - mean) / deviation;
  }
  last_.push_back(loss);
  if (last_.size() > kWindow) last_.pop_front();
  return z;
}

}  // namespace banyan::train
