#include "src/config/rules.hpp"

#include <fmt/format.h>

#include <numeric>
#include <optional>
#include <utility>

#include "src/base/error.hpp"
#include "src/base/units.hpp"
#include "src/config/comm_rules.hpp"

namespace banyan::config {
namespace {

std::string kv_text(const model_section& m) {
  return m.kv_heads == 0 ? fmt::format("model.kv_heads = 0 (as many as model.heads = {})", m.heads)
                         : fmt::format("model.kv_heads = {}", m.kv_heads);
}

void width_over_heads(const Config& c) {
  const auto& m = c.model;
  if (m.width % m.heads == 0) return;
  throw ConfigError("model.width = {} cannot be divided among model.heads = {}; the width nearest below is {}", m.width,
                    m.heads, std::max(m.heads, m.width / m.heads * m.heads));
}

void heads_over_kv_heads(const Config& c) {
  const auto& m = c.model;
  if (m.kv_heads == 0 || m.heads % m.kv_heads == 0) return;
  throw ConfigError("model.heads = {} cannot share model.kv_heads = {}; use a divisor of {} ({})", m.heads, m.kv_heads,
                    m.heads, divisors_text(m.heads));
}

void rotary_head_size(const Config& c) {
  const auto& m = c.model;
  if (m.position != "rotary" || m.width / m.heads % 2 == 0) return;
  throw ConfigError(
      "model.width = {} over model.heads = {} gives heads of {} channels, but model.position = rotary turns "
      "channels in pairs; use an even head size, for example model.width = {}",
      m.width, m.heads, m.width / m.heads, m.heads * (m.width / m.heads + 1));
}

void heads_over_tensor(const Config& c) {
  const auto heads = c.model.heads, tensor = c.parallel.tensor;
  if (heads % tensor == 0) return;
  throw ConfigError("model.heads = {} cannot be split over parallel.tensor = {}; use a divisor of {} ({})", heads,
                    tensor, heads, divisors_text(heads));
}

void kv_heads_over_tensor(const Config& c) {
  const auto kv = effective_kv_heads(c.model), tensor = c.parallel.tensor;
  if (kv % tensor == 0) return;
  throw ConfigError("{} cannot be split over parallel.tensor = {}; use a divisor of {} ({})", kv_text(c.model), tensor,
                    kv, divisors_text(kv));
}

void ffn_over_tensor(const Config& c) {
  const auto ffn = effective_ffn(c.model), tensor = c.parallel.tensor;
  if (ffn % tensor == 0) return;
  throw ConfigError("model.ffn = {}{} cannot be split over parallel.tensor = {}; use a multiple of {}, for example {}",
                    c.model.ffn, c.model.ffn == 0 ? fmt::format(" (which means {})", ffn) : "", tensor, tensor,
                    (ffn / tensor + 1) * tensor);
}

void sequence_needs_tensor(const Config& c) {
  if (!c.parallel.sequence || c.parallel.tensor > 1) return;
  throw ConfigError(
      "parallel.sequence = true splits rows over the tensor ranks, but parallel.tensor = 1; use "
      "parallel.tensor = 2 or more, or parallel.sequence = false");
}

void blocks_need_tensor(const Config& c) {
  if (c.parallel.tensor_blocks == 1 || c.parallel.tensor > 1) return;
  throw ConfigError(
      "parallel.tensor_blocks = {} divides products whose sums travel between tensor ranks, but parallel.tensor = 1; "
      "use parallel.tensor = 2 or more, or parallel.tensor_blocks = 1",
      c.parallel.tensor_blocks);
}

void grad_dtype_fits_precision(const Config& c) {
  if (c.run.grad_dtype == "fp32" || c.run.precision == "bf16") return;
  throw ConfigError(
      "run.grad_dtype = bf16 would round gradients more than the rest of run.precision = fp32; use run.precision = "
      "bf16, or run.grad_dtype = fp32");
}

void rows_over_tensor(const Config& c) {
  const auto rows = c.parallel.microbatch * c.model.context, tensor = c.parallel.tensor;
  if (!c.parallel.sequence || rows % tensor == 0) return;
  throw ConfigError(
      "parallel.sequence = true splits parallel.microbatch x model.context = {} x {} = {} rows over "
      "parallel.tensor = {}, which does not come out even; use model.context = {}",
      c.parallel.microbatch, c.model.context, rows, tensor, (c.model.context / tensor + 1) * tensor);
}

/// Schedules that only a pipeline of several stages can have.
bool needs_stages(const std::string& schedule) { return schedule != "gpipe" && schedule != "1f1b"; }

void schedule_needs_stages(const Config& c) {
  const auto& p = c.parallel;
  if (!needs_stages(p.schedule) || p.pipeline > 1) return;
  throw ConfigError(
      "parallel.schedule = {} is for several pipeline stages, but parallel.pipeline = {}; use parallel.pipeline = 2 or "
      "more, or parallel.schedule = 1f1b",
      p.schedule, p.pipeline);
}

void virtual_stages_fit(const Config& c) {
  const auto& p = c.parallel;
  if (p.virtual_stages == 0) return;
  if (p.schedule == "interleaved") {
    if (p.virtual_stages == 1)
      throw ConfigError(
          "parallel.schedule = interleaved needs several chunks of the model on a stage, but parallel.virtual_stages = "
          "1; use parallel.virtual_stages = 2 or more, or parallel.schedule = 1f1b");
  } else if (p.schedule == "zb-v") {
    if (p.virtual_stages != 2)
      throw ConfigError(
          "parallel.schedule = zb-v has two chunks of the model on every stage, but parallel.virtual_stages = {}; use "
          "parallel.virtual_stages = 2",
          p.virtual_stages);
  } else if (p.virtual_stages > 1) {
    throw ConfigError(
        "parallel.virtual_stages = {} is for parallel.schedule = interleaved, but parallel.schedule = {}; use "
        "parallel.virtual_stages = 1, or the interleaved schedule",
        p.virtual_stages, p.schedule);
  }
}

void split_backward_keeps_blocks(const Config& c) {
  if (c.train.recompute != "block" || (c.parallel.schedule != "zb-h1" && c.parallel.schedule != "zb-v")) return;
  throw ConfigError(
      "parallel.schedule = {} makes gradients of weights later, from what train.recompute = {} would not keep; use "
      "train.recompute = cheap or none, or parallel.schedule = {}",
      c.parallel.schedule, c.train.recompute, c.parallel.schedule == "zb-v" ? "interleaved" : "1f1b");
}

void layers_over_pipeline(const Config& c) {
  const auto chunks = effective_virtual_stages(c.parallel);
  if (chunks > 1 && c.model.layers < c.parallel.pipeline * chunks)
    throw ConfigError(
        "model.layers = {} are too few for parallel.pipeline x parallel.virtual_stages = {} x {} chunks{}; every chunk "
        "needs a block, so use fewer of either",
        c.model.layers, c.parallel.pipeline, chunks,
        c.parallel.virtual_stages == 0 ? fmt::format(" (parallel.schedule = {})", c.parallel.schedule) : "");
  if (c.model.layers >= c.parallel.pipeline) return;
  throw ConfigError(
      "model.layers = {} are too few for parallel.pipeline = {}; every stage needs a block, so use "
      "parallel.pipeline = {} or less",
      c.model.layers, c.parallel.pipeline, c.model.layers);
}

void stages_fit(const Config& c) {
  const std::vector<std::int64_t> stages = stage_list(c.parallel.stages);
  if (stages.empty()) return;
  const auto chunks = effective_virtual_stages(c.parallel), listed = static_cast<std::int64_t>(stages.size());
  if (chunks > 1 && listed != c.parallel.pipeline * chunks)
    throw ConfigError(
        "parallel.stages = {} lists {} chunks, but parallel.pipeline x parallel.virtual_stages = {} x {}; list {} "
        "numbers or use auto",
        c.parallel.stages, listed, c.parallel.pipeline, chunks, c.parallel.pipeline * chunks);
  if (chunks == 1 && listed != c.parallel.pipeline)
    throw ConfigError("parallel.stages = {} lists {} stages, but parallel.pipeline = {}; list {} numbers or use auto",
                      c.parallel.stages, stages.size(), c.parallel.pipeline, c.parallel.pipeline);
  const auto sum = std::accumulate(stages.begin(), stages.end(), std::int64_t{0});
  if (sum != c.model.layers)
    throw ConfigError("parallel.stages = {} adds up to {}, but model.layers = {}; make them equal or use auto",
                      c.parallel.stages, sum, c.model.layers);
}

// What can never run is found when the job is submitted, not when a node is lost.
void fallbacks_can_run(const Config& c) {
  for (const FallbackMesh& mesh : fallback_list(c.parallel.fallback)) {
    try {
      check_rules(with_mesh(c, mesh));
    } catch (const ConfigError& e) {
      throw ConfigError("parallel.fallback = {}: the mesh {} cannot run: {}", c.parallel.fallback, mesh.str(),
                        e.what());
    }
  }
}

void batch_over_microbatch(const Config& c) {
  const auto batch = c.train.batch, micro = c.parallel.microbatch;
  if (batch % micro == 0) return;
  throw ConfigError(
      "train.batch = {} does not consist of whole microbatches of parallel.microbatch = {} sequences; use a "
      "divisor of {} ({})",
      batch, micro, batch, divisors_text(batch));
}

void batch_over_data(const Config& c) {
  const auto microbatches = c.train.batch / c.parallel.microbatch, data = c.parallel.data;
  if (data == 0 || microbatches >= data) return;
  throw ConfigError(
      "train.batch = {} with parallel.microbatch = {} makes {} microbatches, fewer than parallel.data = {} "
      "ranks that share them; use train.batch = {} or more",
      c.train.batch, c.parallel.microbatch, microbatches, data, data * c.parallel.microbatch);
}

void min_lr_below_lr(const Config& c) {
  const auto& o = c.optimizer;
  if (o.schedule == "constant" || o.min_lr <= o.lr) return;
  throw ConfigError("optimizer.min_lr = {} is above optimizer.lr = {}; use optimizer.min_lr = {} for the usual tenth",
                    exact_real(o.min_lr), exact_real(o.lr), exact_real(o.lr / 10));
}

void warmup_within_steps(const Config& c) {
  if (c.optimizer.warmup <= c.train.steps) return;
  throw ConfigError("optimizer.warmup = {} is longer than the job, train.steps = {}; use optimizer.warmup = {} or less",
                    c.optimizer.warmup, c.train.steps, c.train.steps);
}

void decay_within_steps(const Config& c) {
  const auto& o = c.optimizer;
  if (o.schedule != "wsd" || o.warmup + o.decay <= c.train.steps) return;
  throw ConfigError(
      "optimizer.warmup = {} and optimizer.decay = {} together are longer than train.steps = {}; use "
      "optimizer.decay = {} or less",
      o.warmup, o.decay, c.train.steps, c.train.steps - o.warmup);
}

void evaluation_has_data(const Config& c) {
  if (c.train.eval_every == 0 || !c.data.validation.empty() || c.data.validation_fraction > 0) return;
  throw ConfigError(
      "train.eval_every = {} evaluates on held-out text, but data.validation is empty and "
      "data.validation_fraction = 0; set one of the two, or train.eval_every = 0",
      c.train.eval_every);
}

void local_is_a_place(const Config& c) {
  const std::string& local = c.checkpoint.local;
  if (local.empty() || (local[0] == '/' && local.find_first_of("\n\r") == std::string::npos)) return;
  throw ConfigError(
      "checkpoint.local = {} is no absolute path; name a directory that every node has, for example "
      "checkpoint.local = /dev/shm, or leave it empty",
      local);
}

void local_comes_between(const Config& c) {
  const auto& k = c.checkpoint;
  if (k.local.empty() || k.every_steps == 0 || k.local_every < k.every_steps) return;
  throw ConfigError(
      "checkpoint.local_every = {} steps leave no node-local checkpoint between those of checkpoint.every_steps = {}; "
      "use a lower checkpoint.local_every, or checkpoint.local = \"\"",
      k.local_every, k.every_steps);
}

void overhead_has_an_interval(const Config& c) {
  if (c.checkpoint.overhead == 0 || c.checkpoint.interval == "auto") return;
  throw ConfigError(
      "checkpoint.overhead = {} bounds checkpoint.interval = auto, and it is {}; set checkpoint.interval = auto, or "
      "checkpoint.overhead = 0",
      c.checkpoint.overhead, c.checkpoint.interval);
}

}  // namespace

const std::vector<Rule>& rules() {
  static const std::vector<Rule> list{
      {"width_over_heads", width_over_heads},
      {"heads_over_kv_heads", heads_over_kv_heads},
      {"rotary_head_size", rotary_head_size},
      {"heads_over_tensor", heads_over_tensor},
      {"kv_heads_over_tensor", kv_heads_over_tensor},
      {"ffn_over_tensor", ffn_over_tensor},
      {"sequence_needs_tensor", sequence_needs_tensor},
      {"blocks_need_tensor", blocks_need_tensor},
      {"grad_dtype_fits_precision", grad_dtype_fits_precision},
      {"rows_over_tensor", rows_over_tensor},
      {"schedule_needs_stages", schedule_needs_stages},
      {"virtual_stages_fit", virtual_stages_fit},
      {"split_backward_keeps_blocks", split_backward_keeps_blocks},
      {"layers_over_pipeline", layers_over_pipeline},
      {"stages_fit", stages_fit},
      {"batch_over_microbatch", batch_over_microbatch},
      {"batch_over_data", batch_over_data},
      {"min_lr_below_lr", min_lr_below_lr},
      {"warmup_within_steps", warmup_within_steps},
      {"decay_within_steps", decay_within_steps},
      {"evaluation_has_data", evaluation_has_data},
      {"shared_needs_shared_memory", shared_needs_shared_memory},
      {"gpus_for_what_carries_their_memory", gpus_for_what_carries_their_memory},
      {"messages_are_checked_in_host_memory", messages_are_checked_in_host_memory},
      {"nccl_has_its_own_collectives", nccl_has_its_own_collectives},
      {"local_is_a_place", local_is_a_place},
      {"local_comes_between", local_comes_between},
      {"overhead_has_an_interval", overhead_has_an_interval},
      {"fallbacks_can_run", fallbacks_can_run},
  };
  return list;
}

void check_rules(const Config& config) {
  for (const Rule& rule : rules()) rule.check(config);
}

std::int64_t effective_kv_heads(const model_section& m) { return m.kv_heads == 0 ? m.heads : m.kv_heads; }

std::int64_t effective_ffn(const model_section& m) {
  if (m.ffn != 0) return m.ffn;
  if (m.mlp == "gelu") return 4 * m.width;
  return (8 * m.width / 3 + 63) / 64 * 64;
}

std::int64_t effective_virtual_stages(const parallel_section& p) {
  if (p.virtual_stages != 0) return p.virtual_stages;
  return p.schedule == "interleaved" || p.schedule == "zb-v" ? 2 : 1;
}

std::vector<std::int64_t> stage_list(const std::string& stages) {
  if (stages == "auto") return {};
  std::vector<std::int64_t> list;
  std::size_t at = 0;
  while (at <= stages.size()) {
    const std::size_t comma = std::min(stages.find(',', at), stages.size());
    const std::optional<std::int64_t> n = parse_count(std::string_view(stages).substr(at, comma - at));
    if (!n || *n < 1 || *n > 4096)
      throw ConfigError("parallel.stages = {} is refused; write auto, or the blocks of each stage such as 5,7", stages);
    list.push_back(*n);
    at = comma + 1;
  }
  return list;
}

std::string FallbackMesh::str() const {
  return data == 0 ? fmt::format("{}x{}", tensor, pipeline) : fmt::format("{}x{}x{}", tensor, pipeline, data);
}

std::vector<FallbackMesh> fallback_list(const std::string& fallback) {
  if (fallback == "none") return {};
  const auto refuse = [&] {
    return ConfigError(
        "parallel.fallback = {} is refused; write none, or meshes of tensor x pipeline [x data] such as 2x2,1x2x3",
        fallback);
  };
  std::vector<FallbackMesh> list;
  for (std::size_t at = 0; at <= fallback.size();) {
    const std::size_t comma = std::min(fallback.find(',', at), fallback.size());
    std::vector<std::int64_t> sizes;
    for (std::size_t part = at; part <= comma;) {
      const std::size_t end = std::min(fallback.find('x', part), comma);
      std::string_view text = std::string_view(fallback).substr(part, end - part);
      while (text.starts_with(' ')) text.remove_prefix(1);
      while (text.ends_with(' ')) text.remove_suffix(1);
      const std::optional<std::int64_t> n = parse_count(text);
      if (!n || *n < 1 || *n > 65536) throw refuse();
      sizes.push_back(*n);
      part = end + 1;
    }
    if (sizes.size() < 2 || sizes.size() > 3) throw refuse();
    list.push_back({sizes[0], sizes[1], sizes.size() == 3 ? sizes[2] : 0});
    at = comma + 1;
  }
  return list;
}

Config with_mesh(const Config& config, const FallbackMesh& mesh) {
  Config other = config;
  other.parallel.fallback = "none";
  other.parallel.tensor = mesh.tensor;
  other.parallel.pipeline = mesh.pipeline;
  other.parallel.data = mesh.data;
  if (mesh.tensor == 1) {
    other.parallel.sequence = false;
    other.parallel.tensor_blocks = 1;
  }
  if (mesh.pipeline == 1 && needs_stages(other.parallel.schedule)) {
    other.parallel.schedule = "1f1b";
    other.parallel.virtual_stages = 1;
  }
  const std::vector<std::int64_t> stages = stage_list(config.parallel.stages);
  if (!stages.empty() &&
      static_cast<std::int64_t>(stages.size()) != mesh.pipeline * effective_virtual_stages(other.parallel))
    other.parallel.stages = "auto";
  return other;
}

std::string divisors_text(std::int64_t n) {
  std::string out;
  int count = 0;
  for (std::int64_t d = 1; d <= n; ++d) {
    if (n % d != 0) continue;
    if (++count > 16) return out + " ...";
    out += (out.empty() ? "" : " ") + std::to_string(d);
  }
  return out;
}

}  // namespace banyan::config
