#include "src/train/prediction.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "src/base/log.hpp"
#include "src/base/units.hpp"
#include "src/job/rates.hpp"

namespace banyan::train {

Prediction::Prediction(job::Job& job, const job::Team& team) : machine_(job::machine_of(job, team.layout)) {}

void Prediction::settle(const job::Job& job, const job::Team& team) {
  if (job.config.run.machine.empty()) job::use_links(machine_, job.plans.links);
  job::carry_messages(machine_, job);
  cost_ = plan::step_cost(team.layout, machine_);
}

void Prediction::compare(double seconds) {
  if (std::exchange(first_, false) || measured_.size() >= kJudged) return;
  measured_.push_back(seconds);
  if (measured_.size() < kJudged) return;
  std::nth_element(measured_.begin(), measured_.begin() + kJudged / 2, measured_.end());
  const std::string text = far_off(cost_.step, measured_[kJudged / 2], machine_);
  if (!text.empty()) log::warning("{}", text);
}

std::string far_off(double predicted, double measured, const plan::Machine& machine) {
  if (std::abs(predicted / measured - 1) <= kFarOff) return "";
  return fmt::format(
      "a step takes {}, but {} were predicted for {} (plan.txt has the terms): look for a busy or throttled node, or "
      "give a better machine file as run.machine",
      format_seconds(measured), format_seconds(predicted), machine.name);
}

}  // namespace banyan::train
