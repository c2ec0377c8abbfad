// Proof on the user's own configuration that the mesh computes what one rank computes: a few steps of both in one job,
// losses and gradients side by side.
//
// A gradient a agrees with the reference b when ||a - b|| <= 1e-4 max(||b||, 1e-3 ||all gradients of b||): some true
// gradients are zero (a key bias moves no probability), and there only rounding is left to compare.  With bf16 on both
// sides the roundings are 2^-8 and there are as many as operations: 5e-3 for losses, a tenth for gradients.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/job/setup.hpp"

namespace banyan::train {

inline constexpr double kSmallestShare = 1e-3;

/// Largest relative differences that agree.
struct Tolerance {
  double loss = 1e-4, grad = 1e-4;
};
inline constexpr Tolerance kBf16Tolerance{.loss = 5e-3, .grad = 0.1};

struct LossRow {
  std::int64_t step = 0;
  double mesh = 0, reference = 0;
  double difference() const;  ///< relative to the reference
};

struct GradRow {
  std::string name;
  std::int64_t step = 0;                      ///< where the difference was largest
  double reference_norm = 0, difference = 0;  ///< difference: ||a - b|| over the maximum of the rule
};

struct Comparison {
  Tolerance tolerance;
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
