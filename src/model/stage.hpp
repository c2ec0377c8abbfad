// A Stage is the part of the model that one rank computes: consecutive blocks [first_block, last_block), or several
// chunks of such, with the embedding before the first block of the model and the head behind the last, all of it split
// over the tensor group.
//
// Life of a microbatch in a chunk:   load -> forward -> backward(first part of the chunk) ... backward(its last part)
//   or, with a split backward pass,  load -> forward -> backward_input -> backward_weights(first part) ... (last part)
// Everything it needs lives in one slot (an arena of activation_plan().slot_bytes); a schedule decides which slot a
// microbatch uses.  Parts divide the backward pass by blocks, from the head down, so that the gradients of a part can
// be reduced while the next part is computed.  Gradients accumulate until zero_grads(). The head turns logits into
// their gradient where they lie, a chunk of rows at a time, so its share of the backward pass (gradient of the output
// table, gradient of its input) is done at the end of forward().
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/backend.hpp"
#include "src/model/activation_plan.hpp"
#include "src/model/local_params.hpp"
#include "src/model/params.hpp"
#include "src/model/stage_spec.hpp"

namespace banyan::comm {
class Communicator;
}

namespace banyan::model {

/// What a microbatch consists of; host memory, copied by load().
struct MicrobatchData {
  int chunk = 0;                          ///< model chunk of the stage that it goes through
  std::span<const std::int32_t> tokens;   ///< R; read with the embedding
  std::span<const std::int32_t> targets;  ///< R; read with the head; negative: no target
  std::span<const std::int64_t> sample;   ///< R: global sample number of each row (dropout)
  std::int64_t step = 0;                  ///< dropout
  float loss_scale = 1;                   ///< 1 / (tokens of the global batch): gradients come out as of the mean
  bool train = true;                      ///< false: no dropout, no backward pass will follow
};

/// New rows of several sequences in generation; keys and values of earlier rows are in the cache.
struct InferBatch {
  std::span<const std::int32_t> tokens;       ///< rows; first stage
  std::span<const std::int32_t> offsets;      ///< S+1: rows of each sequence
  std::span<const std::int32_t> start;        ///< S: position of each sequence's first new row
  std::span<const std::int32_t> block_table;  ///< S * blocks_per_sequence
  std::int32_t blocks_per_sequence = 0;       ///< large enough for start + new rows of every sequence
};

class Stage {
 public:
  /// `tensor` may be null when tensor_size is 1; it and `backend` outlive the stage.
  static std::unique_ptr<Stage> make(const StageSpec& spec, kernels::Backend& backend, comm::Communicator* tensor);
  virtual ~Stage() = default;

  virtual const StageSpec& spec() const = 0;
  virtual std::vector<LocalParam>& params() = 0;
  virtual View param_arena() = 0;  ///< 1-D; empty with narrow weights, without what is spread over data ranks
  virtual View grad_arena() = 0;   ///< 1-D, same layout; empty without spec().gradients
  /// Initial values as functions of (seed, name, index).
  virtual void init_params(std::uint64_t seed) = 0;
  virtual void zero_grads() = 0;
  /// Gives a parameter its values, whatever type they are kept in: read(offset, to) fills `to`, fp32 in host memory,
  /// with the slab of the logical tensor that begins at `offset`, once or several times.
  virtual void fill_param(const LocalParam& p, const std::function<void(const Shape& offset, View to)>& read) = 0;
  /// Tells the stage that parameters were written from outside (optimizer, load).  BugError while a block uses one.
  /// `rounded`: LocalParam::rounded was written with them, where there is one; else the stage does that, but for what
  /// is spread over data ranks, which fill_param() rounds.
  virtual void params_changed(bool rounded = false) = 0;

  virtual void load(int slot, const MicrobatchData& data) = 0;
  /// [stream_rows, C]; where the activation of the stage before is received, and what is sent to the next one, while
  /// the slot holds a microbatch in that chunk.
  virtual View input(int slot, int chunk) = 0;
  virtual View output(int slot, int chunk) = 0;
  View input(int slot) { return input(slot, 0); }
  View output(int slot) { return output(slot, 0); }
  /// Gradient received from the next stage, in any chunk.
  virtual View d_output(int slot) = 0;
  /// Gradient sent to the previous stage.  The same memory as d_output: the backward pass works in place.
  virtual View d_input(int slot) = 0;
  virtual void forward(int slot) = 0;
  virtual void backward(int slot, int part) = 0;
  /// The gradient of the chunk's input, and of all parameters but weights and biases of its linear layers.
  virtual void backward_input(int slot) = 0;
  /// The gradients of those in a part; what has been received and sent for the slot is not touched.
  virtual void backward_weights(int slot, int part) = 0;
  /// Called between operations of forward and backward so that messages in flight advance.
  virtual void set_progress(std::function<void()> progress) = 0;
  /// Sum over rows of the loss of the microbatch in `slot` (last stage, after forward; same on all tensor ranks).
  virtual kernels::Number loss_sum(int slot) = 0;
  /// Per-row loss of the microbatch in `slot`, host memory (last stage, after forward).
  virtual std::vector<float> row_losses(int slot) = 0;

  // ---- generation.  make_cache before the first infer; blocks are numbered 0 .. blocks-1.
  virtual void make_cache(std::int32_t blocks, std::int32_t block_size, std::int64_t max_rows) = 0;
  /// Rows go through this stage's blocks, appending keys and values.  `hidden` [rows,C] is the input on all but the
  /// first stage (ignored there) and receives the output on all but the last.  Not with sequence parallelism.
  virtual void infer(const InferBatch& batch, View hidden) = 0;
  /// Last stage: logits of the given rows of the last infer over the whole vocabulary, gathered over the tensor group,
  /// [rows.size(), V] in host memory.
  virtual void logits(std::span<const std::int32_t> rows, std::vector<float>& out) = 0;
};

}  // namespace banyan::model
