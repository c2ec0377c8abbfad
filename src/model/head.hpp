// From the residual stream to the loss: final norm, logits (vocabulary split over the tensor group), cross-entropy.
//
// Logits are the largest result of a model, so they exist for a chunk of rows at a time and their gradient replaces
// them where they lie.  Therefore forward() of a training microbatch also makes this layer's gradients: that of the
// output table, and that of the normed rows, which replaces them; backward() only takes it through the norm.
#pragma once

#include <cstdint>

#include "src/model/compute.hpp"
#include "src/model/norm_layer.hpp"
#include "src/model/param_store.hpp"
#include "src/model/rows.hpp"

namespace banyan::model {

struct HeadActivations {
  NormActivations norm;
  View loss;  ///< [R]
};

class Head {
 public:
  /// Views of scratch: logits [chunk, V of this rank] (strided), statistics [5 * chunk].
  struct Room {
    View logits, statistics;
  };
  Head(const StageSpec& spec, ParamStore& store);

  /// loss = ; with `gradients` also what the comment above says, scaled by loss_scale.
  void forward(const Compute& c, const Room& room, const HeadActivations& a, ConstView x, ConstView targets,
               float loss_scale, bool gradients) const;
  /// d_stream = gradient of x.
  void backward(const Compute& c, const HeadActivations& a, ConstView x, View d_stream) const;

  /// Logits [R, V of this rank] of rows of the stream, for generation.
  void logits(const Compute& c, const NormActivations& norm, ConstView x, View logits) const;
  Range vocabulary() const { return vocab_; }

 private:
  /// Logits of one chunk become losses, and with `gradients` their own gradient.
  void cross_entropy(const Compute& c, const Room& room, View logits, View loss, ConstView targets, float loss_scale,
                     bool gradients) const;

  Range vocab_;
  NormLayer norm_;
  ParamHandle table_;
};

}  // namespace banyan::model
