// LayerNorm or RMSNorm of the residual stream, as the model's shape says.
#pragma once

#include <string>

#include "src/model/arena.hpp"
#include "src/model/compute.hpp"
#include "src/model/param_store.hpp"

namespace banyan::model {

/// Results of a norm that its backward pass needs.
struct NormActivations {
  View normed;      ///< [R,C]
  View mean, rstd;  ///< [R]; no mean for RMSNorm
};
/// Buffers "<prefix>normed<number>" and so on of an arena; what they hold may be empty where it is computed again.
NormActivations norm_activations(const Arena& arena, const std::string& prefix, const std::string& number);
/// The first `rows` rows of them.
NormActivations first_rows(const NormActivations& a, std::int64_t rows);

class NormLayer {
 public:
  /// Parameters NAME.weight and, for LayerNorm, NAME.bias.
  NormLayer(const ModelShape& shape, ParamStore& store, const std::string& name);
  void forward(const Compute& c, const NormActivations& a, ConstView x) const;
  /// d_x +=, gradients of weight and bias +=.
  void backward(const Compute& c, const NormActivations& a, View d_x, ConstView d_normed, ConstView x) const;

 private:
  bool layer_;
  float eps_;
  ParamHandle weight_, bias_;
};

}  // namespace banyan::model
