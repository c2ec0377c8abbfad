// Ranks that are slower than others which do the same work, by the time they work themselves, not by what they wait
// for: in a step all ranks take equally long.
//
// Each rank takes note of its own steps (WorkTimes); every kWindow steps what is typical for them travels with the
// totals of the step, and rank 0 judges (Stragglers).  Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace banyan::train {

/// Steps of which a window consists: those after which ranks tell how long they worked.
inline constexpr std::int64_t kWindow = 8;

class WorkTimes {
 public:
  /// A step in which this rank worked for so long.
  void add(double seconds);
  /// The median of the last kWindow steps, so that one pause does not count; 0 before the first.
  double typical() const;

 private:
  std::array<double, kWindow> last_{};
  std::size_t count_ = 0;
};

struct Straggler {
  std::size_t rank = 0;
  double factor = 0;  ///< by which it is slower than the median of its like
};

class Stragglers {
 public:
  /// `kind[r]`: ranks of the same number do the same work, those below 0 none.
  explicit Stragglers(std::vector<int> kind) : kind_(std::move(kind)), slow_(kind_.size()), told_(kind_.size()) {}
  /// The typical times of a window, by rank.  Gives the slowest of those that were slower than kSlow times the median
  /// of their like in kWindows windows in a row and worked kEnough seconds in these; each rank once.
  std::optional<Straggler> judge(std::span<const double> seconds);

  static constexpr double kSlow = 1.5;
  static constexpr int kWindows = 3;
  static constexpr double kEnough = 10;  ///< short steps are soon disturbed by whatever else a host does

 private:
  struct Streak {
    int windows = 0;
    double seconds = 0;  ///< worked in them
  };
  const std::vector<int> kind_;
  std::vector<Streak> slow_;
  std::vector<bool> told_;
};

}  // namespace banyan::train
