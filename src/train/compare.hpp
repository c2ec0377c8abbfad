// Proof on the user's own configuration that the mesh computes what one rank computes: a few steps of both in one job,
// losses and gradients side by side.
//
// A gradient a agrees with the reference b when ||a - b|| <= 1e-4 max(||b||, 1e-3 ||all gradients of b||): some true
// gradients are zero (a key bias moves no probability), and there only rounding is left to compare.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/job/setup.hpp"

namespace banyan::train {

inline constexpr double kLossTolerance = 1e-4, kGradTolerance = 1e-4, kSmallestShare = 1e-3;

struct LossRow {
  std::int64_t step = 0;
  double mesh = 0, reference = 0;
  double difference() const;  ///< relative to the reference
};

struct GradRow {
  std::string name;
  std::int64_t step = 0;                      ///< where the difference was largest
  double reference_norm = 0, difference = 0;  ///< difference: the left side of the rule over its right side / 1e-4
};

struct Comparison {
  std::vector<LossRow> losses;
  std::vector<GradRow> grads;  ///< one per tensor, largest difference first
  bool agrees() const;
  std::string str() const;  ///< tables for people
};

/// Runs `steps` steps of the job's mesh and, on rank 0, of a reference on one rank.  ConfigError when rank 0 cannot
/// hold the whole model beside its share.  Called by all ranks; the result is the same on all of them but for the
/// tables, which rank 0 has.
Comparison compare(job::Job& job, std::int64_t steps);

}  // namespace banyan::train
