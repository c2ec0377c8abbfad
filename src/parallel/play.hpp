// The player of schedules: a small discrete simulation in which the stages of a pipeline execute their actions against
// each other.  It proves that a set of schedules can be executed, prices it, and draws it.  Pure.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "src/parallel/schedule.hpp"

namespace banyan::parallel {

/// One action as it was played.
struct Played {
  Action action;
  double begin = 0, end = 0;
};
struct Timeline {
  double makespan = 0;                      ///< seconds
  std::vector<double> busy;                 ///< per stage
  std::vector<std::vector<Played>> played;  ///< per stage, in order
  double bubble_share() const;              ///< 1 - mean(busy) / makespan
};
/// Seconds a stage needs for an action.
using ActionCost = std::function<double(int stage, const Action&)>;
/// Forward and backward passes of a chunk that cost the same on every stage and microbatch; halves of a split
/// backward pass are equal; everything else is free.
ActionCost uniform_cost(double forward, double backward, int parts = 1);

/// Plays the schedules of all stages (index = stage) against each other.  Messages between two places are ordered in
/// each direction and meet no others.  A message arrives `message_cost` after its send; a send is over, for its slot,
/// only when the peer has come to its receive.  Throws BugError naming the action when a schedule deadlocks, uses a
/// slot that is busy, computes before its input, or leaves something undone.
Timeline play(const std::vector<std::vector<Action>>& schedules, const ActionCost& cost, double message_cost);

/// One line per stage, or per chunk where stages have several, in units of a chunk's forward pass, with backward passes
/// twice as long: digits are forward passes, letters backward passes, capital ones those of weights, all counting
/// microbatches and starting over (0-9, a-z); '.' is idle.  Cut after `width` columns.
std::string draw(const std::vector<std::vector<Action>>& schedules, std::size_t width = 100);

}  // namespace banyan::parallel
