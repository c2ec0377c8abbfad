#include "src/plan/layout.hpp"

#include <algorithm>
#include <numeric>

#include "src/base/error.hpp"
#include "src/config/rules.hpp"
#include "src/model/local_params.hpp"
#include "src/parallel/buckets.hpp"
#include "src/plan/cost.hpp"

namespace banyan::plan {
namespace {

using config::Config;

std::int64_t round_up(std::int64_t n, std::int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/// "1 2 3 4 6 12"
std::string divisors(std::int64_t n) {
  std::string s;
  for (std::int64_t d = 1; d <= n && s.size() < 60; ++d)
    if (n % d == 0) s += fmt::format("{}{}", s.empty() ? "" : " ", d);
  return s;
}

void require_split(const char* key, std::int64_t value, std::int64_t ranks, const char* note) {
  if (value % ranks != 0)
    throw ConfigError("{} = {}{} cannot be split over parallel.tensor = {}; use a divisor of {} ({})", key, value, note,
                      ranks, value, divisors(value));
}

void check_tensor(const Config& config, const model::ModelShape& shape) {
  const std::int64_t t = config.parallel.tensor;
  require_split("model.heads", shape.heads, t, "");
  require_split("model.kv_heads", shape.kv_heads, t, config.model.kv_heads == 0 ? " (as many as heads)" : "");
  require_split("model.ffn", shape.ffn, t, config.model.ffn == 0 ? " (derived from model.width)" : "");
  if (shape.vocab < t)
    throw ConfigError(
        "model.vocab = {} is smaller than parallel.tensor = {}; use at most one tensor rank for each token",
        shape.vocab, t);
}

void check_batch(const Config& config, const parallel::MeshShape& mesh) {
  const std::int64_t batch = config.train.batch, microbatch = config.parallel.microbatch;
  if (batch % microbatch != 0)
    throw ConfigError(
        "train.batch = {} is no multiple of parallel.microbatch = {}; use a divisor of {} as microbatch ({})", batch,
        microbatch, batch, divisors(batch));
  const std::int64_t needed = microbatch * mesh.data;
  if (batch < needed)
    throw ConfigError(
        "train.batch = {} is smaller than parallel.data x parallel.microbatch = {} x {} = {}, so some data ranks would "
        "have nothing to do; use train.batch = {} or fewer data ranks",
        batch, mesh.data, microbatch, needed, needed);
}

void check_sequence(const Config& config, const model::ModelShape& shape) {
  const std::int64_t rows = config.parallel.microbatch * shape.context;
  if (config.parallel.sequence && rows % config.parallel.tensor != 0)
    throw ConfigError(
        "parallel.sequence = true needs the rows of a microbatch, parallel.microbatch x model.context = {} x {} = {}, "
        "to "
        "be a multiple of parallel.tensor = {}; change one of the three or set parallel.sequence = false",
        config.parallel.microbatch, shape.context, rows, config.parallel.tensor);
}

/// Places of a V whose stages have as many blocks as these, half of them in each chunk; empty where one has too few.
std::vector<parallel::BlockRange> fold(const std::vector<parallel::BlockRange>& stages) {
  std::vector<std::int64_t> counts;
  for (const parallel::BlockRange& s : stages) counts.push_back((s.count() + 1) / 2);
  for (std::size_t i = stages.size(); i-- > 0;) counts.push_back(stages[i].count() / 2);
  std::vector<parallel::BlockRange> places;
  std::int64_t begin = 0;
  for (const std::int64_t count : counts) {
    if (count == 0) return {};
    places.push_back({begin, begin + count});
    begin += count;
  }
  return places;
}

/// auto is none until choose_recompute has found what fits (recompute.hpp).
model::Recompute recompute_of(const Config& config) {
  const std::string& what = config.train.recompute;
  return what == "block"   ? model::Recompute::kBlock
         : what == "cheap" ? model::Recompute::kCheap
                           : model::Recompute::kNone;
}

std::vector<parallel::BlockRange> cut_places(const Config& config, const model::ModelShape& shape, int chunks,
                                             bool recompute) {
  const int pipeline = static_cast<int>(config.parallel.pipeline), places = pipeline * chunks;
  if (pipeline > shape.layers)
    throw ConfigError("parallel.pipeline = {} is more than model.layers = {}; use at most one pipeline stage per block",
                      pipeline, shape.layers);
  if (places > shape.layers)
    throw ConfigError(
        "parallel.pipeline x parallel.virtual_stages = {} x {} is more than model.layers = {}; use at most one chunk "
        "per "
        "block",
        pipeline, chunks, shape.layers);
  if (config.parallel.stages != "auto") return parallel::parse_stages(config.parallel.stages, shape.layers, places);
  const PassFlops block = block_flops(shape, recompute), head = head_flops(shape), embedding = embedding_flops(shape);
  const std::vector<double> blocks(static_cast<std::size_t>(shape.layers), block.total());
  if (config.parallel.schedule == "zb-v" && chunks == 2) {
    // The first stage has both ends of the model.
    const auto stages = parallel::balance_stages(blocks, pipeline, embedding.total() + head.total(), 0);
    if (auto v = fold(stages); !v.empty()) return v;
  }
  return parallel::balance_stages(blocks, places, embedding.total(), head.total());
}

/// Stages without chunks, where the order of training is of no use: every one takes as many neighbouring places.
std::vector<parallel::BlockRange> merge_places(const std::vector<parallel::BlockRange>& places, int chunks) {
  std::vector<parallel::BlockRange> stages;
  const auto together = static_cast<std::size_t>(chunks);
  for (std::size_t i = 0; i < places.size(); i += together)
    stages.push_back({places[i].begin, places[i + together - 1].end});
  return stages;
}

/// Parts of the backward pass of one place, by the bytes of its gradients on a tensor rank.
std::vector<std::int64_t> cut_parts(const Layout& layout, int place, std::int64_t bucket) {
  const parallel::BlockRange blocks = layout.places[static_cast<std::size_t>(place)];
  model::StageSpec spec =
      layout.stage_spec({.pipeline = parallel::stage_of(layout.schedule, layout.mesh.pipeline, place)});
  // One part for each block, to learn the bytes of every one.
  spec.part_blocks.assign(static_cast<std::size_t>(model::block_count(spec)), 1);
  std::vector<std::int64_t> block_bytes(static_cast<std::size_t>(blocks.count()), 0);
  std::int64_t top_bytes = 0;
  for (const model::LocalParam& p : model::local_params(spec)) {
    const std::int64_t bytes = p.count.count() * 4;
    if (p.logical.block >= blocks.begin && p.logical.block < blocks.end)
      block_bytes[static_cast<std::size_t>(p.logical.block - blocks.begin)] += bytes;
    else if ((p.logical.block < 0 || p.logical.block >= layout.model.layers) && p.part == 0 &&
             blocks.end == layout.model.layers)
      top_bytes += bytes;
  }
  return parallel::part_blocks(block_bytes, top_bytes, bucket);
}

/// The schedule of parallel.schedule; a pipeline of one stage has nothing to take in turns.
parallel::ScheduleKind schedule_kind(const Config& config) {
  if (config.parallel.schedule == "gpipe") return parallel::ScheduleKind::kGpipe;
  if (config.parallel.pipeline > 1) {
    if (config.parallel.schedule == "interleaved") return parallel::ScheduleKind::kInterleaved;
    if (config.parallel.schedule == "zb-h1") return parallel::ScheduleKind::kZbH1;
    if (config.parallel.schedule == "zb-v") return parallel::ScheduleKind::kZbV;
  }
  return parallel::ScheduleKind::k1F1B;
}

}  // namespace

parallel::MicrobatchRange Layout::microbatches_of(int data_rank) const {
  return parallel::split_microbatches(microbatches, data_rank, mesh.data);
}

std::int64_t Layout::blocks_of(int stage) const {
  std::int64_t blocks = 0;
  for (int chunk = 0; chunk < chunks; ++chunk) blocks += places[static_cast<std::size_t>(place(stage, chunk))].count();
  return blocks;
}

int Layout::parts(int stage) const {
  std::size_t parts = 0;
  for (int chunk = 0; chunk < chunks; ++chunk)
    parts += part_blocks[static_cast<std::size_t>(place(stage, chunk))].size();
  return static_cast<int>(parts);
}

parallel::ScheduleArgs Layout::schedule_args(const parallel::Coordinate& c) const {
  std::vector<int> parts;
  for (int chunk = 0; chunk < chunks; ++chunk)
    parts.push_back(
        std::max(1, static_cast<int>(part_blocks[static_cast<std::size_t>(place(c.pipeline, chunk))].size())));
  return {.kind = schedule,
          .stages = mesh.pipeline,
          .stage = c.pipeline,
          .microbatches = static_cast<int>(microbatches_of(c.data).count),
          .parts = std::move(parts),
          .ticks = pass_ticks(model)};
}

model::StageSpec Layout::stage_spec(const parallel::Coordinate& c) const {
  model::StageSpec spec;
  spec.shape = model;
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const auto at = static_cast<std::size_t>(place(c.pipeline, chunk));
    spec.chunks.push_back({places.at(at).begin, places.at(at).end});
    // Parts of later chunks come first.
    spec.part_blocks.insert(spec.part_blocks.begin(), part_blocks.at(at).begin(), part_blocks.at(at).end());
  }
  spec.first_block = spec.chunks.front().begin;
  spec.last_block = spec.chunks.back().end;
  spec.has_embedding = c.pipeline == 0;
  spec.has_head = c.pipeline == head_stage();
  spec.tensor_rank = c.tensor;
  spec.tensor_size = mesh.tensor;
  spec.sequence = sequence;
  spec.row_blocks = tensor_blocks;
  spec.recompute = recompute;
  spec.activations = activations;
  if (use == Use::kTrain && zero && activations == DType::kBF16) {
    spec.master_rank = c.data;
    spec.master_ranks = mesh.data;
  }
  spec.split_backward = use == Use::kTrain && parallel::splits_backward(schedule);
  spec.sequences = sequences;
  spec.length = model.context;
  spec.seed = seed;
  if (use == Use::kGenerate) {
    spec.slots = 0;
    spec.gradients = false;
    spec.weights = weights;
  } else if (use == Use::kEvaluate) {
    // Two, so that one microbatch can be computed while the output of another is still being sent.
    spec.slots = mesh.pipeline > 1 ? 2 : 1;
    spec.gradients = false;
  } else {
    parallel::Coordinate most = c;
    if (audit) most.data = 0;
    spec.slots = parallel::slots_needed(schedule_args(most));
    if (audit) spec.slots = std::max(spec.slots, parallel::slots_needed(schedule_args(c)));
  }
  return spec;
}

model::ModelShape make_model_shape(const Config& config, std::int64_t dataset_vocab) {
  const auto& m = config.model;
  model::ModelShape shape;
  shape.layers = m.layers;
  shape.width = m.width;
  shape.heads = m.heads;
  shape.kv_heads = m.kv_heads == 0 ? m.heads : m.kv_heads;
  shape.context = m.context;
  shape.norm = m.norm == "rms" ? model::Norm::kRms : model::Norm::kLayer;
  shape.position = m.position == "rotary" ? model::Position::kRotary : model::Position::kLearned;
  shape.mlp = m.mlp == "swiglu" ? model::Mlp::kSwiglu : model::Mlp::kGelu;
  shape.ffn = m.ffn != 0 ? m.ffn : shape.mlp == model::Mlp::kSwiglu ? round_up((8 * m.width + 2) / 3, 64) : 4 * m.width;
  shape.bias = m.bias;
  shape.tied = m.tied;
  shape.dropout = m.dropout;
  shape.rope_theta = m.rope_theta;
  shape.norm_eps = m.norm_eps;
  shape.init_std = m.init_std;
  shape.vocab = m.vocab == 0 ? dataset_vocab : m.vocab;
  if (shape.vocab == 0)
    throw ConfigError(
        "model.vocab = 0 takes the vocabulary of the dataset, but none is known; set model.vocab or data.train");
  if (dataset_vocab > shape.vocab)
    throw ConfigError(
        "model.vocab = {} is smaller than the dataset's vocabulary of {} tokens; set model.vocab = {} or more, or 0 to "
        "take the dataset's",
        shape.vocab, dataset_vocab, dataset_vocab);
  if (shape.width % shape.heads != 0)
    throw ConfigError("model.width = {} cannot be split over model.heads = {}; use a divisor of {} ({})", shape.width,
                      shape.heads, shape.width, divisors(shape.width));
  if (shape.heads % shape.kv_heads != 0)
    throw ConfigError("model.heads = {} cannot share model.kv_heads = {}; use a divisor of {} ({})", shape.heads,
                      shape.kv_heads, shape.heads, divisors(shape.heads));
  if (shape.position == model::Position::kRotary && shape.head_size() % 2 != 0)
    throw ConfigError(
        "model.position = rotary turns pairs of channels, but model.width / model.heads = {} / {} = {} is odd; use "
        "another number of heads",
        shape.width, shape.heads, shape.head_size());
  return shape;
}

Layout make_layout(const Config& config, int world, std::int64_t dataset_vocab, Use use) {
  Layout layout;
  layout.use = use;
  layout.world = world;
  layout.model = make_model_shape(config, dataset_vocab);
  layout.mesh =
      parallel::resolve_mesh(static_cast<int>(config.parallel.tensor), static_cast<int>(config.parallel.pipeline),
                             static_cast<int>(config.parallel.data), world);
  check_tensor(config, layout.model);
  layout.schedule = schedule_kind(config);
  layout.sequences = config.parallel.microbatch;
  layout.zero = config.parallel.zero == 1;
  layout.audit = config.train.audit_every > 0;
  layout.seed = static_cast<std::uint64_t>(config.run.seed);
  if (use != Use::kGenerate && config.run.precision == "bf16") layout.activations = DType::kBF16;
  if (use == Use::kTrain && config.run.grad_dtype == "bf16") layout.gradients = DType::kBF16;
  const std::string& kept = config.generate.weights;
  if (use == Use::kGenerate && kept != "fp32") layout.weights = kept == "bf16" ? DType::kBF16 : DType::kI8;
  if (use == Use::kTrain) layout.recompute = recompute_of(config);
  if (use != Use::kGenerate) {
    check_batch(config, layout.mesh);
    check_sequence(config, layout.model);
    layout.microbatches = config.train.batch / config.parallel.microbatch;
    layout.sequence = config.parallel.sequence && config.parallel.tensor > 1;
    layout.tensor_blocks = static_cast<int>(config.parallel.tensor_blocks);
  }
  // The cut is made for training, whatever the use, so that all commands show the same stages.
  layout.chunks = layout.mesh.pipeline > 1 ? static_cast<int>(config::effective_virtual_stages(config.parallel)) : 1;
  layout.places = cut_places(config, layout.model, layout.chunks, recompute_of(config) == model::Recompute::kBlock);
  if (use != Use::kTrain) {
    layout.places = merge_places(layout.places, layout.chunks);
    layout.chunks = 1;
    layout.schedule = parallel::ScheduleKind::k1F1B;
  }
  layout.part_blocks.resize(layout.places.size());
  std::vector<std::vector<std::int64_t>> parts;
  for (std::size_t p = 0; p < layout.places.size(); ++p)
    parts.push_back(cut_parts(layout, static_cast<int>(p), config.parallel.bucket));
  layout.part_blocks = std::move(parts);
  return layout;
}

}  // namespace banyan::plan
