// From tokens to the residual stream: token table (rows split over the tensor group) plus learned positions, dropout.
#pragma once

#include "src/model/compute.hpp"
#include "src/model/param_store.hpp"
#include "src/model/rows.hpp"

namespace banyan::model {

class Embedding {
 public:
  Embedding(const StageSpec& spec, ParamStore& store);
  /// out [stream rows, C] =
  void forward(const Compute& c, const Rows& rows, ConstView tokens, View out) const;
  /// Accumulates the tables' gradients.  d_out is used up.
  void backward(const Compute& c, const Rows& rows, ConstView tokens, View d_out) const;

 private:
  std::int64_t vocab_begin_;
  bool has_rows_;  ///< false on a late member of a tensor group larger than the vocabulary allows
  ParamHandle token_, position_;
};

}  // namespace banyan::model
