// Running mean and deviation of the loss, for a z-score that tells a spike from noise.
#pragma once

#include <cstddef>
#include <deque>
#include <string>

namespace banyan::train {

class LossStats {
 public:
  /// How many deviations `loss` lies above the mean of the losses in the window (0 until there are enough of them).
  double z_score(double loss) const;
  /// Takes a finite loss into the window, which holds the last kWindow.
  void add(double loss);

  /// The window, to the bit, and how it is read again.  DataError naming `source` for anything else.
  std::string text() const;
  void restore(const std::string& text, const std::string& source);

 private:
  static constexpr std::size_t kWindow = 100, kEnough = 10;
  std::deque<double> last_;
};

}  // namespace banyan::train
