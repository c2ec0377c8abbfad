// The price of a whole optimizer step of a division, in closed form, term by term.  Pure, and cheap enough for searches
// over hundreds of thousands of divisions.  Pipelines: 1F1B with flush takes m steady rounds of its dearest stage and
// fills and drains the others once; of that other schedules leave a share (src/parallel/fill.hpp);
// tests/plan/step_price_test.cpp holds it against the played schedules of src/parallel.
#pragma once

#include "src/plan/block_price.hpp"
#include "src/plan/division.hpp"

namespace banyan::plan {

struct StepPrice {
  // What the formulas are made of.
  BlockPrice block, head;
  Pass embedding;
  double microbatches = 1;    ///< of the busiest data rank
  double blocks = 1;          ///< of the dearest stage
  double stage = 0;           ///< seconds of a microbatch on it, both directions
  double stages = 0;          ///< the same, all stages together
  double message = 0;         ///< seconds of a message between stages
  double first_messages = 0;  ///< of the first microbatch, which travels alone: through all chunks, there and back
  double parameters = 0;      ///< of a rank of the largest stage
  double reduction = 0;       ///< seconds of the gradients' reduction, hidden or not
  double gather = 0;          ///< seconds of ZeRO's parameters on their way, hidden or not

  // Terms; they add up to the step.
  double steady = 0;      ///< microbatches x dearest stage
  double fill = 0;        ///< of the pipeline, and its emptying
  double fill_share = 1;  ///< of the other stages' time
  double messages = 0;    ///< between stages, exposed
  double gradients = 0;   ///< reduction that is not hidden
  double gathering = 0;   ///< parameters, not hidden
  double update = 0;      ///< optimizer
  double crowding = 0;    ///< what ranks that share cores wait for each other beyond the above
  double step = 0;

  // Shares and rates.
  double bubble_share = 0;         ///< of the pipeline's time
  double tensor = 0, context = 0;  ///< seconds of exposed traffic inside the above
  double tokens_per_second = 0;
  double model_flops = 0;     ///< FLOP/s of a rank, without recomputation (model::flops_per_token)
  double hardware_flops = 0;  ///< and with it
};

/// `batch`: sequences of a step over all ranks.
StepPrice step_price(const model::ModelShape& shape, const Division& d, std::int64_t batch, const Machine& machine);
/// What several divisions have in common.
struct PartPrices {
  BlockPrice block, head;  ///< they depend on tensor, context, microbatch, sequence and recomputation
  Pass embedding;          ///< so does this
  double fill_share = 1;   ///< on schedule, pipeline, model chunks and microbatches of a data rank
};
/// The same, with these already known.
StepPrice step_price(const model::ModelShape& shape, const Division& d, std::int64_t batch, const Machine& machine,
                     const PartPrices& parts);
/// Microbatches of the busiest data rank.
double microbatches_of(const Division& d, std::int64_t batch);
/// parallel::fill_share of a model's passes.
double fill_share(const model::ModelShape& shape, const Division& d, std::int64_t batch);

/// FLOP of a token that recomputation adds, counted as model::flops_per_token counts.
double recomputed_flops(const model::ModelShape& shape, Recompute recompute);
/// Parameters of one block, and of the embedding and the head, before division.
struct ParameterCounts {
  double block = 0, embedding = 0, head = 0;
};
ParameterCounts parameter_counts(const model::ModelShape& shape);
/// Blocks of the dearest stage, and seconds of it; whole blocks, the ends carry embedding and head.
struct DearestStage {
  double blocks = 0, seconds = 0;
  double first_blocks = 0, last_blocks = 0;  ///< of the ends, at most
};
DearestStage dearest_stage(double layers, int stages, double block, double first_extra, double last_extra, bool even);

}  // namespace banyan::plan
