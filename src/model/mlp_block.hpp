// The feed-forward half of a transformer block:  out = x + dropout(down(act(up(norm2(x))))), where act is tanh-GELU, or
// SwiGLU with a gate that is one matrix product with up.  The inner channels are split over the tensor group.
#pragma once

#include <string>

#include "src/model/arena.hpp"
#include "src/model/compute.hpp"
#include "src/model/norm_layer.hpp"
#include "src/model/param_store.hpp"
#include "src/model/rows.hpp"

namespace banyan::model {

/// F inner channels on this rank.
struct MlpActivations {
  NormActivations norm;  ///< of the stream's rows held here
  View wide;             ///< [R,F] before GELU, or [R,2F]: gate, up
  View active;           ///< [R,F]
};
MlpActivations mlp_activations(const Arena& arena, const std::string& prefix);

/// Gradients that the weights' own are made of later, where the backward pass is split; else empty.
struct MlpGradients {
  View branch;  ///< [stream rows, C]: of down's output
  View wide;    ///< as the activation
};
MlpGradients mlp_gradients(const Arena& arena, const std::string& prefix);

class MlpBlock {
 public:
  MlpBlock(const StageSpec& spec, ParamStore& store, std::int64_t block);
  /// Everything but the way back into the stream: enough for the backward pass, so recomputation ends here.
  void forward_inside(const Compute& c, const MlpActivations& a, ConstView x) const;
  /// out = ; may alias x.
  void forward_out(const Compute& c, const Rows& rows, const MlpActivations& a, ConstView x, View out) const;
  /// d_stream: gradient of the output on entry, of the input on return.  Accumulates the parameters' gradients; those
  /// of the linear layers only where nothing is kept in `d` for backward_weights.  x: the input again.
  void backward(const Compute& c, const Rows& rows, const MlpActivations& a, const MlpGradients& d, ConstView x,
                View d_stream) const;
  void backward_weights(const Compute& c, const MlpActivations& a, const MlpGradients& d, ConstView x) const;

 private:
  /// d_branch is the part of d_out that norm regions of this rank hold.
  void add_down_gradients(const Compute& c, const MlpActivations& a, ConstView d_branch, ConstView d_out) const;
  /// All rows of what the norm put out, computed again where it was not kept.
  ConstView normed_again(const Compute& c, const MlpActivations& a, ConstView x) const;
  void activate(const Compute& c, const MlpActivations& a) const;
  void add_wide_gradients(const Compute& c, ConstView d_wide, ConstView normed) const;

  std::int64_t block_, ffn_;
  bool gated_, cheap_again_;
  NormLayer norm_;
  ParamHandle wide_weight_, wide_bias_, down_weight_, down_bias_;
};

}  // namespace banyan::model
