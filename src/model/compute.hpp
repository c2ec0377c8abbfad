// What every layer computes with: the device, the tensor group, the rank's scratch, and the three matrix products of a
// linear layer  out [R,N] = x [R,K] * weight^T [N,K] + bias.
#pragma once

#include <functional>
#include <string_view>

#include "kernels/backend.hpp"
#include "src/model/tensor_parallel.hpp"

namespace banyan::model {

/// Buffers that a layer may use while it computes; nothing survives in them.
struct Scratch {
  View partial;   ///< [R,C]: product of a row-parallel layer; later the gradient of a column-parallel layer's input
  View gathered;  ///< [R,C]: all rows of a stream that is spread over the tensor group; empty otherwise
  View d_wide;    ///< gradient of the fused q,k,v or of the feed-forward channels, one row after the other
  View d_inner;   ///< gradient of what a row-parallel layer reads
};

struct Compute {
  kernels::Backend& backend;
  TensorParallel& tensor;
  Queue queue;
  Scratch scratch;
  std::function<void()> progress;  ///< lets messages of others advance; may be empty

  /// out =
  void linear_forward(View out, ConstView x, ConstView weight, ConstView bias) const;
  /// out =, and active = gelu(out)
  void linear_gelu_forward(View out, View active, ConstView x, ConstView weight, ConstView bias) const;
  /// d_x =
  void linear_backward_input(View d_x, ConstView d_out, ConstView weight) const;
  /// The same through x = gelu(wide): d_wide =
  void linear_gelu_backward_input(View d_wide, ConstView d_out, ConstView weight, ConstView wide) const;
  /// d_weight +=; d_bias += the sums over the rows of `own`, which is d_out, or the rows of it that this rank answers for;
  /// without a bias it is empty.
  void linear_backward_weight(View d_weight, View d_bias, ConstView d_out, ConstView own, ConstView x) const;
  void linear_backward_weight(View d_weight, ConstView d_out, ConstView x) const {
    linear_backward_weight(d_weight, {}, d_out, d_out, x);
  }
  void advance() const;
};

/// The first elements of a buffer as a matrix [rows, columns].
View matrix_in(View buffer, std::int64_t rows, std::int64_t columns);

}  // namespace banyan::model
