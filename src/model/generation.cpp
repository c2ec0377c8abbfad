#include "src/model/generation.hpp"

#include <algorithm>

#include "src/base/error.hpp"
#include "src/model/slot.hpp"

namespace banyan::model {
namespace {

const InferPlan& checked(const InferPlan& plan, const StageSpec& spec) {
  if (spec.sequence && spec.tensor_size > 1) throw BugError("generation does not know sequence parallelism");
  if (chunk_count(spec) > 1) throw BugError("generation does not know several model chunks on a stage");
  return plan;
}

}  // namespace

Generation::Generation(const StageSpec& spec, const Layers& layers, kernels::Backend& backend, TensorParallel& tensor,
                       std::int32_t blocks, std::int32_t block_size, std::int64_t max_rows)
    : spec_(spec),
      layers_(layers),
      backend_(backend),
      tensor_(tensor),
      block_size_(block_size),
      max_rows_(max_rows),
      arena_([&] {
        const InferPlan plan = checked(infer_plan(spec, blocks, block_size, max_rows), spec);
        return Arena(backend, plan.buffers, plan.bytes);
      }()) {
  for (std::int64_t i = spec.first_block; i < spec.last_block; ++i) {
    const std::string name = "cache." + std::to_string(i) + ".";
    caches_.push_back({arena_.at(name + "key"), arena_.at(name + "value")});
  }
}

Compute Generation::compute(const std::function<void()>& progress) const {
  Scratch scratch;
  scratch.partial = arena_.at("rows.partial");
  return {backend_, tensor_, {}, scratch, progress};
}

std::int64_t Generation::check(const InferBatch& batch) const {
  const std::size_t sequences = batch.start.size();
  if (batch.offsets.size() != sequences + 1 || batch.offsets[0] != 0 ||
      batch.block_table.size() != sequences * static_cast<std::size_t>(batch.blocks_per_sequence))
    throw BugError("offsets, starts and block table of {} sequences do not fit together", sequences);
  const std::int64_t rows = batch.offsets[sequences];
  if (rows < 1 || rows > max_rows_) throw BugError("{} new rows were given, room is for {}", rows, max_rows_);
  if (spec_.has_embedding && static_cast<std::int64_t>(batch.tokens.size()) != rows)
    throw BugError("{} tokens were given for {} rows", batch.tokens.size(), rows);
  if (spec_.has_embedding) check_tokens(batch.tokens, spec_.shape.vocab, 0);
  for (std::size_t s = 0; s < sequences; ++s)
    if (batch.start[s] + batch.offsets[s + 1] - batch.offsets[s] > spec_.shape.context)
      throw BugError("sequence {} would grow longer than the model's context of {}", s, spec_.shape.context);
  return rows;
}

void Generation::infer(const InferBatch& batch, View hidden, const std::function<void()>& progress) {
  rows_ = check(batch);
  const std::size_t sequences = batch.start.size();
  std::vector<std::int32_t> position(static_cast<std::size_t>(rows_)), key_offsets(sequences + 1, 0);
  for (std::size_t s = 0; s < sequences; ++s) {
    const std::int32_t count = batch.offsets[s + 1] - batch.offsets[s];
    for (std::int32_t i = 0; i < count; ++i)
      position[static_cast<std::size_t>(batch.offsets[s] + i)] = batch.start[s] + i;
    key_offsets[s + 1] = key_offsets[s] + batch.start[s] + count;
  }
  const View positions = arena_.at("positions").rows(0, rows_);
  backend_.copy({}, positions, ConstView(position.data(), {rows_}));

  Rows rows;
  rows.count = rows.stream_count = rows_;
  rows.position = positions;
  rows.query_offsets = batch.offsets;
  rows.key_offsets = key_offsets;
  rows.query_position = batch.start;
  rows.cache = {batch.block_table, batch.blocks_per_sequence, block_size_};

  const Compute c = compute(progress);
  const View x = arena_.at("hidden").rows(0, rows_);
  if (spec_.has_embedding) {
    const View tokens = arena_.at("tokens").rows(0, rows_);
    backend_.copy({}, tokens, ConstView(batch.tokens.data(), {rows_}));
    layers_.embedding[0].forward(c, rows, tokens, x);
  } else {
    backend_.copy({}, x, hidden);
  }

  const NormActivations norm = first_rows(norm_activations(arena_, "", ""), rows_);
  const View lse = matrix_in(arena_.at("lse"), spec_.shape.heads / spec_.tensor_size, rows_);
  const AttentionActivations attention{norm, arena_.at("qkv").rows(0, rows_), lse,
                                       arena_.at("attended").rows(0, rows_)};
  const MlpActivations mlp{norm, arena_.at("wide").rows(0, rows_), arena_.at("active").rows(0, rows_)};
  for (std::size_t i = 0; i < layers_.attention.size(); ++i) {
    layers_.attention[i].forward(c, rows, attention, x, x, &caches_[i]);
    layers_.mlp[i].forward_inside(c, mlp, x);
    layers_.mlp[i].forward_out(c, rows, mlp, x, x);
  }
  if (!spec_.has_head) backend_.copy({}, hidden, x);
  backend_.synchronize({});
}

void Generation::logits(std::span<const std::int32_t> rows, std::vector<float>& out,
                        const std::function<void()>& progress) {
  if (!spec_.has_head) throw BugError("logits were asked of a stage without the head");
  for (const std::int32_t r : rows)
    if (r < 0 || r >= rows_) throw BugError("logits were asked of row {}, the last call had {}", r, rows_);
  const std::size_t vocab = static_cast<std::size_t>(spec_.shape.vocab);
  const std::size_t chunk = static_cast<std::size_t>(arena_.at("head.logits").shape[0]);
  out.resize(rows.size() * vocab);
  const Compute c = compute(progress);
  for (std::size_t begin = 0; begin < rows.size(); begin += chunk)
    logits_chunk(c, rows.subspan(begin, std::min(chunk, rows.size() - begin)), out.data() + begin * vocab);
}

void Generation::logits_chunk(const Compute& c, std::span<const std::int32_t> rows, float* out) {
  const std::int64_t n = static_cast<std::int64_t>(rows.size());
  const View hidden = arena_.at("hidden");
  const View picked = arena_.at("rows.partial").rows(0, n);
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t row = rows[static_cast<std::size_t>(i)];
    backend_.copy({}, picked.rows(i, i + 1), hidden.rows(row, row + 1));
  }
  const Head& head = layers_.head[0];
  const View logits = arena_.at("head.logits").rows(0, n);
  head.logits(c, first_rows(norm_activations(arena_, "", ""), n), picked, logits);

  const View host(out, {n, spec_.shape.vocab});
  if (tensor_.size() == 1) {
    backend_.copy({}, host, logits);
  } else {
    std::vector<std::int64_t> counts;
    for (int i = 0; i < tensor_.size(); ++i)
      counts.push_back(n * split_range(spec_.shape.vocab, i, tensor_.size()).count());
    const View gathered = arena_.at("head.gathered").rows(0, n * spec_.shape.vocab);
    const std::int64_t mine = n * head.vocabulary().count();
    tensor_.gather_parts(gathered, View(logits.data, logits.dtype, {mine}, logits.kind), counts, "logits");
    std::int64_t at = 0;
    for (int i = 0; i < tensor_.size(); ++i) {
      const Range columns = split_range(spec_.shape.vocab, i, tensor_.size());
      const std::int64_t count = n * columns.count();
      if (count > 0)
        backend_.copy({}, host.columns(columns.begin, columns.end),
                      gathered.rows(at, at + count).reshaped({n, columns.count()}));
      at += count;
    }
  }
  backend_.synchronize({});
}

}  // namespace banyan::model
