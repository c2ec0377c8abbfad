// A way to divide a training job over ranks, whether or not the program can run it yet.  Plain data.
#pragma once

#include <cstdint>
#include <string_view>

#include "src/parallel/mesh.hpp"
#include "src/parallel/schedule.hpp"
#include "src/plan/machine.hpp"

namespace banyan::plan {

/// What the backward pass computes again: nothing, what norms and the activation put out, what lies between scores and
/// their weighted sum, whole blocks.
enum class Recompute : std::uint8_t { kNone, kCheap, kAttention, kBlock };

/// "1f1b", as parallel.schedule has it.
std::string_view name_of(parallel::ScheduleKind kind);

struct Division {
  parallel::MeshShape mesh;
  std::int64_t microbatch = 1;  ///< sequences
  parallel::ScheduleKind schedule = parallel::ScheduleKind::k1F1B;
  int virtual_stages = 1;  ///< model chunks of a pipeline stage: several in an interleaved schedule, two in ZB-V
  int zero = 0;            ///< 1: optimizer state, 2: and gradients, 3: and parameters are spread over data ranks
  Recompute recompute = Recompute::kNone;
  int tensor_blocks =
      1;  ///< of rows, in which products are computed whose sums or operands travel between tensor ranks
  int gradient_bytes = 0;  ///< of an element of a gradient on its way; 0: what the machine's software sends
  bool sequence = false;   ///< norms and residuals are split over the tensor ranks
  Precision precision = Precision::kFp32;
  bool data_outermost = false;  ///< ranks of a pipeline are neighbours, data ranks far apart; else the other way round

  /// Distance, in ranks, between neighbours of an axis.
  int data_stride() const { return mesh.tensor * mesh.context * (data_outermost ? mesh.pipeline : 1); }
  int pipeline_stride() const { return mesh.tensor * mesh.context * (data_outermost ? 1 : mesh.data); }
  bool operator==(const Division&) const = default;
};

}  // namespace banyan::plan
