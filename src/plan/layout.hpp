// Layout: everything a job's shape follows from, as numbers.  make_layout is the one translation from the config (and
// the number of ranks and the dataset's vocabulary) to what the model, the schedule and the memory plan take;
// src/job/setup and `banyan plan` both call it.  Pure: no process, no file, no memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/config/config.hpp"
#include "src/model/shapes.hpp"
#include "src/model/stage.hpp"
#include "src/parallel/mesh.hpp"
#include "src/parallel/microbatches.hpp"
#include "src/parallel/schedule.hpp"
#include "src/parallel/stages.hpp"

namespace banyan::plan {

/// What the ranks will do.  Evaluation needs no gradients and two slots at most; generation neither splits sequences
/// over tensor ranks nor keeps activations, and no rule about the global batch holds for it.
enum class Use : std::uint8_t { kTrain, kEvaluate, kGenerate };

struct Layout {
  Use use = Use::kTrain;
  model::ModelShape model;
  parallel::MeshShape mesh;
  int world = 1;  ///< ranks of the job
  parallel::ScheduleKind schedule = parallel::ScheduleKind::k1F1B;
  int chunks = 1;                                      ///< of the model on each pipeline stage
  std::vector<parallel::BlockRange> places;            ///< blocks of each place of the pipeline (parallel/schedule.hpp)
  std::vector<std::vector<std::int64_t>> part_blocks;  ///< backward parts of each place, from the top
  std::int64_t sequences = 1;                          ///< of a microbatch
  std::int64_t microbatches = 1;                       ///< of a global batch (train.batch / parallel.microbatch)
  bool sequence = false;                               ///< sequence parallelism
  int tensor_blocks = 1;                               ///< model::StageSpec::row_blocks
  model::Recompute recompute = model::Recompute::kNone;
  bool zero = false;                ///< ZeRO-1
  bool audit = false;               ///< data ranks also compute the batches of others
  DType activations = DType::kF32;  ///< bf16 with run.precision = bf16; generation computes in fp32
  DType gradients = DType::kF32;    ///< of parameters, on their way between data ranks (run.grad_dtype)
  DType weights = DType::kF32;      ///< of the matrices, in generation
  std::uint64_t seed = 1;

  int spares() const { return world - mesh.size(); }
  std::int64_t batch() const { return microbatches * sequences; }  ///< sequences of a global batch
  std::int64_t tokens_per_batch() const { return batch() * model.context; }
  int place(int pipeline_stage, int chunk) const {
    return parallel::place_of(schedule, mesh.pipeline, pipeline_stage, chunk);
  }
  /// Stage with the norm, the output projection and the loss.
  int head_stage() const { return parallel::stage_of(schedule, mesh.pipeline, mesh.pipeline * chunks - 1); }
  /// The token embedding has a copy on another stage.
  bool ties_stages() const { return model.tied && head_stage() != 0; }
  std::int64_t blocks_of(int pipeline_stage) const;
  int parts(int pipeline_stage) const;

  /// Microbatches of a data rank.
  parallel::MicrobatchRange microbatches_of(int data_rank) const;
  /// What the stage at a coordinate is; Use::kGenerate gives it no slots, audits those of the data rank with most.
  model::StageSpec stage_spec(const parallel::Coordinate& c) const;
  /// Of one optimizer step at a coordinate.
  parallel::ScheduleArgs schedule_args(const parallel::Coordinate& c) const;
};

/// Resolves every "0 means ..." of [model].  `dataset_vocab` = 0 when no dataset is known.
/// ConfigError when model.vocab is 0 without a dataset, or smaller than the dataset's.
model::ModelShape make_model_shape(const config::Config& config, std::int64_t dataset_vocab);

/// ConfigError with both keys, both values and one fix for whatever does not fit together.
Layout make_layout(const config::Config& config, int world, std::int64_t dataset_vocab, Use use = Use::kTrain);

}  // namespace banyan::plan
