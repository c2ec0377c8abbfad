// Where every intermediate result of a stage lies: one arena (slot) per microbatch in flight and one of scratch per
// rank. Pure; the stage allocates exactly this, so the plan that is printed is the memory that is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "src/base/view.hpp"
#include "src/model/stage_spec.hpp"

namespace banyan::model {

/// One named buffer of a plan.
struct PlannedBuffer {
  std::string name;
  Shape shape;
  DType dtype = DType::kF32;
  std::size_t offset = 0, bytes = 0;
};

struct ActivationPlan {
  /// Of each microbatch in flight.  A slot holds it in one of the model chunks at a time, so the buffers of chunk c >
  /// 0, named "chunk.c. ...", lie over those of chunk 0; only d_stream is shared.
  std::vector<PlannedBuffer> slot;
  std::vector<PlannedBuffer> scratch;  ///< once per rank
  std::size_t slot_bytes = 0, scratch_bytes = 0;
};
/// Memory of training and evaluation.  (Beside it a slot keeps 12 bytes of host memory per row: samples, positions.)
ActivationPlan activation_plan(const StageSpec& spec);

/// Whether a slot has buffers of every block: not where they are computed again as a whole or have no backward pass.
bool keeps_blocks(const StageSpec& spec);

/// "" for chunk 0, "chunk.1." and so on for others: how names of their buffers in a slot begin.
std::string chunk_prefix(int chunk);

/// Memory of generation: the key and value cache and the scratch of one call with up to `max_rows` rows.
struct InferPlan {
  std::vector<PlannedBuffer> buffers;
  std::size_t bytes = 0;
};
InferPlan infer_plan(const StageSpec& spec, std::int32_t blocks, std::int32_t block_size, std::int64_t max_rows);

/// Rows of logits that exist at a time: the head works in chunks so that its scratch stays bounded whatever the
/// microbatch is.  Depends on shapes only.
std::int64_t head_chunk_rows(const StageSpec& spec, std::int64_t rows);

}  // namespace banyan::model
