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
  /// d_x =
  void linear_backward_input(View d_x, ConstView d_out, ConstView weight) const;
  /// d_weight +=
  void linear_backward_weight(View d_weight, ConstView d_out, ConstView x) const;
  void advance() const;
};

/// The first elements of a buffer as a matrix [rows, columns].
View matrix_in(View buffer, std::int64_t rows, std::int64_t columns);

}  // namespace banyan::model
