// Seconds that one rank needs for the parts of the model, for one microbatch.  The numbers behind every prediction:
// the search over layouts, the played schedule and the report take them from here.  Pure.
//
//   product of m x k by k x n   max(2mnk / (peak x efficiency x filling), bytes / memory rate) + start of a kernel
//   filling                     share of the tiles' work that is asked for, times that of the waves' processors:
//                               NVIDIA, "Matrix Multiplication Background User's Guide" (tile and wave quantization)
//   everything else             bytes read and written / memory rate, at least the start of a kernel
#pragma once

#include "src/model/shapes.hpp"
#include "src/plan/division.hpp"

namespace banyan::plan {

/// Seconds of the two directions.
struct Pass {
  double forward = 0, backward = 0;
  double total() const { return forward + backward; }
};

/// Of a block, or of the head (whose backward pass belongs to its forward).
struct BlockPrice {
  Pass products, attention, streams;  ///< matrix products; scores and their weighted sum; norms, residuals, activation
  double weights = 0;                 ///< of the backward products: gradients of weights
  Pass tensor, context;               ///< exposed traffic of those axes
  Pass again;                         ///< what recomputation adds, in `backward`: all of the above of a forward pass
  double forward() const {
    return products.forward + attention.forward + streams.forward + tensor.forward + context.forward;
  }
  double backward() const {
    return products.backward + attention.backward + streams.backward + tensor.backward + context.backward +
           again.backward;
  }
};

/// Speed of one of `active` ranks of a node that compute at the same time.
struct RankSpeed {
  double flops = 0, memory_rate = 0;
};
RankSpeed rank_speed(const Machine& machine, Precision precision, int world);
/// Ranks that take turns on a core; 1 where each has one, or a device of its own.
double core_turns(const Machine& machine, int world);

double product_seconds(const Machine& machine, const RankSpeed& speed, double m, double n, double k, int bytes);

BlockPrice block_price(const model::ModelShape& shape, const Division& d, const Machine& machine);
BlockPrice head_price(const model::ModelShape& shape, const Division& d, const Machine& machine);
Pass embedding_price(const model::ModelShape& shape, const Division& d, const Machine& machine);

/// Bytes of one microbatch's message between two stages, of one rank.
double stage_message_bytes(const model::ModelShape& shape, const Division& d);

}  // namespace banyan::plan
