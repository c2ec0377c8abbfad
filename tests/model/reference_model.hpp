// The model once more, in double precision and with plain loops, forward only: an implementation that shares nothing
// with the one under test but the list of parameters and the definition of the random numbers.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "src/model/shapes.hpp"

namespace banyan::testing {

/// Logical tensors by name, row-major.
using Tensors = std::map<std::string, std::vector<double>>;

struct ReferenceBatch {
  std::int64_t sequences = 1, length = 1;
  std::vector<std::int32_t> tokens, targets;  ///< negative targets do not count
  std::vector<std::int64_t> sample;           ///< per row; empty: no dropout
  std::int64_t step = 0;
  std::uint64_t seed = 1;  ///< of dropout
  std::int64_t rows() const { return sequences * length; }
};

struct ReferenceResult {
  std::vector<double> logits;  ///< [R,V]
  std::vector<double> losses;  ///< [R], 0 where there is no target
  double loss = 0;             ///< their sum
};

ReferenceResult reference_forward(const model::ModelShape& shape, const Tensors& params, const ReferenceBatch& batch);

}  // namespace banyan::testing
