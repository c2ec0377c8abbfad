#include "perf/published.hpp"

#include <optional>

#include "src/base/error.hpp"

namespace banyan::perf {
namespace {

using plan::Division;

/// D. Narayanan et al., "Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM", SC'21,
/// table 1; every layer is computed again (section 3.5), which its FLOP count includes.
PublishedRow megatron(const char* name, int heads, int width, int layers, int tensor, int pipeline, int gpus, int batch,
                      double teraflops) {
  PublishedRow r;
  r.name = name;
  r.batch = batch;
  r.published = teraflops * 1e12;
  r.hardware = true;
  r.shape.layers = layers;
  r.shape.width = width;
  r.shape.heads = r.shape.kv_heads = heads;
  r.shape.ffn = 4 * width;
  r.shape.context = 2048;
  r.shape.vocab = 51200;
  r.shape.dropout = 0.1;
  r.division.mesh = {.tensor = tensor, .context = 1, .data = gpus / tensor / pipeline, .pipeline = pipeline};
  r.division.microbatch = 0;
  r.division.recompute = plan::Recompute::kBlock;
  r.division.precision = plan::Precision::kBf16;
  return r;
}

/// Llama Team, "The Llama 3 Herd of Models", 2024, table 4 and section 3.3.2: one block to a model chunk, one less on
/// the first and last stage, ZeRO for optimizer state and gradients, no recomputation, data ranks outermost.
PublishedRow llama(const char* name, int context_ranks, int data, int context, int per_data_rank, double teraflops) {
  PublishedRow r;
  r.name = name;
  r.batch = std::int64_t{data} * per_data_rank;
  r.published = teraflops * 1e12;
  r.shape.layers = 126;
  r.shape.width = 16384;
  r.shape.heads = 128;
  r.shape.kv_heads = 8;
  r.shape.ffn = 53248;
  r.shape.context = context;
  r.shape.vocab = 128256;
  r.shape.norm = model::Norm::kRms;
  r.shape.position = model::Position::kRotary;
  r.shape.mlp = model::Mlp::kSwiglu;
  r.shape.bias = r.shape.tied = false;
  r.division.mesh = {.tensor = 8, .context = context_ranks, .data = data, .pipeline = 16};
  r.division.schedule = parallel::ScheduleKind::kInterleaved;
  r.division.virtual_stages = 8;
  r.division.zero = 2;
  r.division.sequence = true;
  r.division.precision = plan::Precision::kBf16;
  r.division.data_outermost = true;
  return r;
}

/// The divisions a row leaves open.
std::vector<Division> choices(const PublishedRow& row) {
  if (row.division.microbatch > 0) return {row.division};
  std::vector<Division> list;
  const parallel::MeshShape& mesh = row.division.mesh;
  const std::int64_t per_stage = row.shape.layers / mesh.pipeline, per_data_rank = row.batch / mesh.data;
  for (std::int64_t b = 1; b <= 64; b *= 2)
    for (std::int64_t v = 1; v <= per_stage; ++v) {
      if (per_data_rank % b != 0 || per_stage % v != 0) continue;
      if (v > 1 && (mesh.pipeline == 1 || per_data_rank / b % mesh.pipeline != 0)) continue;
      Division d = row.division;
      d.microbatch = b;
      if (v > 1) d.schedule = parallel::ScheduleKind::kInterleaved;
      d.virtual_stages = static_cast<int>(v);
      list.push_back(d);
    }
  return list;
}

}  // namespace

std::vector<PublishedTable> published_tables() {
  return {
      {.source = "Megatron-LM (SC'21, table 1), FLOP with recomputation",
       .machine = "configs/machines/a100-superpod.ini",
       .rows = {megatron("1.7B", 24, 2304, 24, 1, 1, 32, 512, 137), megatron("3.6B", 32, 3072, 30, 2, 1, 64, 512, 138),
                megatron("7.5B", 32, 4096, 36, 4, 1, 128, 512, 142),
                megatron("18.4B", 48, 6144, 40, 8, 1, 256, 1024, 135),
                megatron("39.1B", 64, 8192, 48, 8, 2, 512, 1536, 138),
                megatron("76.1B", 80, 10240, 60, 8, 4, 1024, 1792, 140),
                megatron("145.6B", 96, 12288, 80, 8, 8, 1536, 2304, 148),
                megatron("310.1B", 128, 16384, 96, 8, 16, 1920, 2160, 155),
                megatron("529.6B", 128, 20480, 105, 8, 35, 2520, 2520, 163),
                megatron("1008.0B", 160, 25600, 128, 8, 64, 3072, 3072, 163)}},
      // Counted as this program counts, with the whole square of attention, which is what the paper's source for
      // utilization does (A. Chowdhery et al., "PaLM", 2022, appendix B).
      {.source = "Llama 3 405B (2024, table 4), model FLOP",
       .machine = "configs/machines/h100-roce.ini",
       .rows = {llama("8,192 GPUs, 8k", 1, 64, 8192, 32, 430), llama("16,384 GPUs, 8k", 1, 128, 8192, 16, 400),
                llama("16,384 GPUs, 128k", 16, 8, 131072, 16, 380)}}};
}

PublishedPrediction predict(const PublishedRow& row, const plan::Machine& machine) {
  std::optional<PublishedPrediction> best;
  for (const Division& d : choices(row)) {
    PublishedPrediction p;
    p.division = d;
    p.price = plan::step_price(row.shape, d, row.batch, machine);
    p.memory = plan::rank_memory(row.shape, d, p.price.blocks, p.price.parameters, p.price.microbatches, machine);
    // What was published did run, whatever the estimate says.
    const bool open = row.division.microbatch == 0;
    if (open && p.memory.total() + machine.reserved_bytes > machine.memory_bytes) continue;
    if (best && best->price.step <= p.price.step) continue;
    p.predicted = row.hardware ? p.price.hardware_flops : p.price.model_flops;
    p.error = p.predicted / row.published - 1;
    best = p;
  }
  if (!best) throw BugError("no division of the published row {} fits into memory", row.name);
  return *best;
}

}  // namespace banyan::perf
