#include "src/model/stage.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "src/base/error.hpp"
#include "src/model/generation.hpp"
#include "src/model/slot.hpp"

namespace banyan::model {
namespace {

Layers make_layers(const StageSpec& spec, ParamStore& store) {
  Layers layers;
  for (int chunk = 0; chunk < chunk_count(spec); ++chunk)
    for (std::int64_t i = blocks_of_chunk(spec, chunk).begin; i < blocks_of_chunk(spec, chunk).end; ++i) {
      layers.attention.emplace_back(spec, store, i);
      layers.mlp.emplace_back(spec, store, i);
    }
  if (spec.has_embedding) layers.embedding.emplace_back(spec, store);
  if (spec.has_head) layers.head.emplace_back(spec, store);
  return layers;
}

class LocalStage final : public Stage {
 public:
  LocalStage(const StageSpec& spec, kernels::Backend& backend, comm::Communicator* group)
      : spec_(spec),
        backend_(backend),
        tensor_(spec_, group, {}),
        store_(spec_, backend),
        layers_(make_layers(spec_, store_)),
        plan_(activation_plan(spec_)),
        scratch_(backend, plan_.scratch, plan_.scratch_bytes) {
    for (int chunk = 0; chunk < chunk_count(spec_); ++chunk)
      first_layer_.push_back(chunk == 0 ? 0 : first_layer_.back() + blocks_of_chunk(spec_, chunk - 1).count());
    for (int i = 0; i < spec_.slots; ++i) slots_.push_back(std::make_unique<Slot>(spec_, backend, plan_, scratch_));
    if (spec_.slots > 0) prepare_rows();
    if (scratch_.find("block.qkv")) shared_block_ = block_activations(scratch_, "block.", scratch_);
    head_room_ = {scratch_.find("head.logits"), scratch_.find("head.statistics")};
    if (spec_.has_head && head_room_.logits)  // the rows end in padding
      head_room_.logits = head_room_.logits.columns(0, std::max<std::int64_t>(1, layers_.head[0].vocabulary().count()));
  }

  const StageSpec& spec() const override { return spec_; }
  std::vector<LocalParam>& params() override { return store_.params(); }
  View param_arena() override { return store_.param_arena(); }
  View grad_arena() override { return store_.grad_arena(); }
  void init_params(std::uint64_t seed) override { store_.init(spec_.shape, seed); }
  void zero_grads() override { store_.zero_grads(); }
  void fill_param(const LocalParam& p, const std::function<void(const Shape& offset, View to)>& read) override {
    store_.fill(p, read);
  }
  void params_changed(bool rounded) override { store_.changed(rounded); }

  void load(int slot, const MicrobatchData& data) override { at(slot).load(spec_, backend_, data); }
  View input(int slot, int chunk) override { return of_chunk(slot, chunk).stream.front(); }
  View output(int slot, int chunk) override { return of_chunk(slot, chunk).stream.back(); }
  View d_output(int slot) override { return d_stream(slot); }
  View d_input(int slot) override { return d_stream(slot); }

  void forward(int slot) override {
    Slot& s = at(slot);
    const Compute c = compute();
    const Rows rows = rows_of(s);
    const ChunkActivations& here = s.here();
    if (here.tokens) layers_.embedding[0].forward(c, rows, here.tokens, here.stream.front());
    for (std::size_t i = 0; i + 1 < here.stream.size(); ++i) {
      const BlockActivations& a = activations(s, i);
      const std::size_t layer = layer_of(s, i);
      layers_.attention[layer].forward(c, rows, a.attention, here.stream[i], a.middle);
      layers_.mlp[layer].forward_inside(c, a.mlp, a.middle);
      layers_.mlp[layer].forward_out(c, rows, a.mlp, a.middle, here.stream[i + 1]);
    }
    const bool gradients = s.train && spec_.gradients;
    if (here.targets)
      layers_.head[0].forward(c, head_room_, here.head, here.stream.back(), here.targets, s.loss_scale, gradients);
    s.input_next = gradients && spec_.split_backward;
    s.next_part = gradients && !spec_.split_backward ? static_cast<int>(parts_of_chunk(spec_, s.chunk).begin) : -1;
  }

  void backward(int slot, int part) override {
    Slot& s = at(slot);
    take_part(s, slot, part, spec_.split_backward);
    const Range parts = parts_of_chunk(spec_, s.chunk);
    backward_blocks(s, blocks_of_part(spec_, part), part == parts.begin, s.next_part < 0);
  }

  void backward_input(int slot) override {
    Slot& s = at(slot);
    if (!s.input_next) throw BugError("the gradient of the input was asked of slot {}, which has none to give", slot);
    s.input_next = false;
    backward_blocks(s, blocks_of_chunk(spec_, s.chunk), true, true);
    s.next_part = static_cast<int>(parts_of_chunk(spec_, s.chunk).begin);
  }

  void backward_weights(int slot, int part) override {
    Slot& s = at(slot);
    take_part(s, slot, part, !spec_.split_backward);
    const Compute c = compute();
    const Range blocks = blocks_of_part(spec_, part);
    for (std::int64_t block = blocks.end - 1; block >= blocks.begin; --block) {
      const auto i = static_cast<std::size_t>(block - blocks_of_chunk(spec_, s.chunk).begin);
      const BlockActivations& a = activations(s, i);
      layers_.mlp[layer_of(s, i)].backward_weights(c, a.mlp, a.d_mlp, a.middle);
      layers_.attention[layer_of(s, i)].backward_weights(c, a.attention, a.d_attention, s.here().stream[i]);
    }
  }

  void set_progress(std::function<void()> progress) override { progress_ = std::move(progress); }

  kernels::Number loss_sum(int slot) override { return backend_.sum({}, losses(slot)); }
  std::vector<float> row_losses(int slot) override {
    std::vector<float> out(static_cast<std::size_t>(spec_.rows()));
    backend_.copy({}, View(out.data(), {spec_.rows()}), losses(slot));
    backend_.synchronize({});
    return out;
  }

  void make_cache(std::int32_t blocks, std::int32_t block_size, std::int64_t max_rows) override {
    generation_.reset();  // give its memory back before asking for more
    generation_.emplace(spec_, layers_, backend_, tensor_, blocks, block_size, max_rows);
  }
  void infer(const InferBatch& batch, View hidden) override { generation().infer(batch, hidden, progress_); }
  void logits(std::span<const std::int32_t> rows, std::vector<float>& out) override {
    generation().logits(rows, out, progress_);
  }

 private:
  Slot& at(int slot) {
    if (slot < 0 || slot >= spec_.slots) throw BugError("slot {} of {} does not exist", slot, spec_.slots);
    return *slots_[static_cast<std::size_t>(slot)];
  }
  View d_stream(int slot) {
    if (!spec_.gradients) throw BugError("a stage without gradients has none to exchange");
    return at(slot).d_stream;
  }
  View losses(int slot) {
    const View loss = at(slot).here().head.loss;
    if (!loss) throw BugError("the loss was asked of a stage, or of a chunk, without the head");
    return loss;
  }
  const ChunkActivations& of_chunk(int slot, int chunk) { return at(slot).chunks.at(static_cast<std::size_t>(chunk)); }
  /// Number among the layers here of block i of the slot's chunk.
  std::size_t layer_of(const Slot& s, std::size_t i) const {
    return static_cast<std::size_t>(first_layer_[static_cast<std::size_t>(s.chunk)]) + i;
  }
  /// The part must be the one that comes next, which then is the one behind it.
  void take_part(Slot& s, int slot, int part, bool never) const {
    if (never || part != s.next_part)
      throw BugError("part {} of the backward pass was asked of slot {}, whose next part is {}", part, slot,
                     s.next_part);
    s.next_part = part + 1 < parts_of_chunk(spec_, s.chunk).end ? part + 1 : -1;
  }

  /// Blocks of the slot's chunk, from the top, with what is before them and behind them.
  void backward_blocks(Slot& s, Range blocks, bool begins, bool ends) {
    const Compute c = compute();
    const Rows rows = rows_of(s);
    const ChunkActivations& here = s.here();
    if (begins && here.targets) layers_.head[0].backward(c, here.head, here.stream.back(), s.d_stream);
    for (std::int64_t block = blocks.end - 1; block >= blocks.begin; --block) {
      const auto i = static_cast<std::size_t>(block - blocks_of_chunk(spec_, s.chunk).begin);
      const std::size_t layer = layer_of(s, i);
      const BlockActivations& a = activations(s, i);
      if (spec_.recompute == Recompute::kBlock) {
        layers_.attention[layer].forward(c, rows, a.attention, here.stream[i], a.middle);
        layers_.mlp[layer].forward_inside(c, a.mlp, a.middle);
      }
      layers_.mlp[layer].backward(c, rows, a.mlp, a.d_mlp, a.middle, s.d_stream);
      layers_.attention[layer].backward(c, rows, a.attention, a.d_attention, here.stream[i], s.d_stream);
    }
    // The embedding ends the pass and uses the gradient up; other chunks send it on.
    if (ends && here.tokens) layers_.embedding[0].backward(c, rows, here.tokens, s.d_stream);
  }

  Generation& generation() {
    if (!generation_) throw BugError("generation was asked of a stage without a cache");
    return *generation_;
  }
  const BlockActivations& activations(const Slot& s, std::size_t i) const {
    return s.here().blocks.empty() ? shared_block_ : s.here().blocks[i];
  }

  Compute compute() {
    const Scratch scratch{scratch_.at("rows.partial"), scratch_.find("rows.gathered"), scratch_.find("d_wide"),
                          scratch_.find("d_inner")};
    return {backend_, tensor_, {}, scratch, progress_};
  }

  void prepare_rows() {
    for (std::int64_t s = 0; s <= spec_.sequences; ++s) offsets_.push_back(static_cast<std::int32_t>(s * spec_.length));
    starts_.assign(static_cast<std::size_t>(spec_.sequences), 0);
    for (std::int64_t r = 0; r < spec_.rows(); ++r) positions_.push_back(static_cast<std::int32_t>(r % spec_.length));
    backend_.copy({}, scratch_.at("positions"), ConstView(positions_.data(), {spec_.rows()}));
    backend_.synchronize({});
  }

  Rows rows_of(const Slot& s) {
    Rows rows;
    rows.count = spec_.rows();
    rows.stream_count = spec_.stream_rows();
    rows.stream_begin = spec_.sequence ? spec_.tensor_rank * rows.stream_count : 0;
    rows.position = scratch_.at("positions");
    rows.query_offsets = offsets_;
    rows.key_offsets = offsets_;
    rows.query_position = starts_;
    rows.dropout = s.train ? static_cast<float>(spec_.shape.dropout) : 0;
    rows.seed = spec_.seed;
    rows.step = s.step;
    rows.sample = s.sample;
    rows.host_position = positions_;
    return rows;
  }

  const StageSpec spec_;
  kernels::Backend& backend_;
  TensorParallel tensor_;
  ParamStore store_;
  const Layers layers_;
  std::vector<std::int64_t> first_layer_;  ///< of every chunk
  const ActivationPlan plan_;
  Arena scratch_;
  std::vector<std::unique_ptr<Slot>> slots_;
  BlockActivations shared_block_;  ///< in scratch_: recomputation and evaluation do not keep them per block
  Head::Room head_room_;
  std::vector<std::int32_t> offsets_, starts_, positions_;  ///< the same for every microbatch
  std::function<void()> progress_;
  std::optional<Generation> generation_;
};

}  // namespace

std::unique_ptr<Stage> Stage::make(const StageSpec& spec, kernels::Backend& backend, comm::Communicator* tensor) {
  check_stage_spec(spec);
  return std::make_unique<LocalStage>(spec, backend, tensor);
}

}  // namespace banyan::model
