// The predicted time of a step, beside which every measured one is put; says so once when the two are far apart.
#pragma once

#include <vector>

#include "src/job/setup.hpp"
#include "src/plan/cost.hpp"

namespace banyan::train {

class Prediction {
 public:
  /// Nothing predicted.
  Prediction() = default;
  /// On rank 0, from job::machine_of.
  Prediction(job::Job& job, const job::Team& team);
  /// After the plans are settled: their measured links count, unless a file says what the machine is.
  void settle(const job::Job& job, const job::Team& team);

  const plan::Machine& machine() const { return machine_; }
  double seconds() const { return cost_.step; }
  /// Share of a step that a stage of the pipeline waits for its neighbours' messages, on average.
  double waiting_share() const { return cost_.step > 0 ? cost_.waiting / cost_.step : 0; }
  /// A step took so long.  The first of an attempt sets things up and does not count; after kJudged others their median
  /// decides, once.
  void compare(double seconds);

 private:
  plan::Machine machine_;
  plan::StepCost cost_;
  std::vector<double> measured_;
  bool first_ = true;
};

/// Relative difference from which a prediction is called wrong, and steps that it takes to say so.
inline constexpr double kFarOff = 0.25;
inline constexpr std::size_t kJudged = 9;
/// The sentence, or empty when the prediction is near; both in seconds.
std::string far_off(double predicted, double measured, const plan::Machine& machine);

}  // namespace banyan::train
