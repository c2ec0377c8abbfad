#include "src/plan/rank_memory.hpp"

#include <algorithm>

namespace banyan::plan {
namespace {

double real(std::int64_t n) { return static_cast<double>(n); }

/// Of a block whose insides are kept; cheap: but for what norms and the activation put out.
double whole_block_bytes(const model::ModelShape& s, const Division& d, bool fused, bool scores, bool cheap = false) {
  const double rows = real(d.microbatch * s.context) / d.mesh.context, tensor = d.mesh.tensor;
  const double bytes = d.precision == Precision::kFp32 ? 4 : 2, split = d.sequence ? tensor : 1;
  const double width = real(s.width), query = real(s.heads * s.head_size());
  const double key_value = real(s.kv_heads * s.head_size()), ffn = real(s.ffn);
  // Inputs of both norms and what they put out; masks of dropout.
  double alike = (cheap ? 2 : 4) * width * bytes + (s.dropout > 0 ? 2 * width : 0);
  double inner = (2 * query + 2 * key_value + ((s.mlp == model::Mlp::kSwiglu ? 3 : 2) - cheap) * ffn) * bytes;
  // Gradients of what linear layers put out, until those of their weights are made.
  if (parallel::splits_backward(d.schedule)) {
    alike += 2 * width * bytes;
    inner += (query + 2 * key_value + (s.mlp == model::Mlp::kSwiglu ? 2 : 1) * ffn) * bytes;
  }
  const double squares = fused || !scores ? 0 : real(s.heads) * real(s.context) * (2 * bytes + 1);
  return rows * (alike / split + (inner + squares) / tensor);
}

}  // namespace

double block_activation_bytes(const model::ModelShape& s, const Division& d, bool fused) {
  if (d.recompute == Recompute::kBlock) {
    const double rows = real(d.microbatch * s.context) / d.mesh.context;
    return rows * real(s.width) * (d.precision == Precision::kFp32 ? 4 : 2) / (d.sequence ? d.mesh.tensor : 1);
  }
  return whole_block_bytes(s, d, fused, d.recompute != Recompute::kAttention, d.recompute == Recompute::kCheap);
}

RankMemory rank_memory(const model::ModelShape& s, const Division& d, double blocks, double elements,
                       double microbatches, const Machine& machine) {
  RankMemory m;
  const double spread = d.mesh.data;
  const bool fp32 = d.precision == Precision::kFp32;
  m.parameters = elements * (fp32 ? 4 : 2) / (d.zero >= 3 ? spread : 1);
  m.gradients = elements * (fp32 ? 4 : machine.gradient_bytes) / (d.zero >= 2 ? spread : 1);
  m.optimizer = elements * (fp32 ? 8 : 12) / (d.zero >= 1 ? spread : 1);  // two moments, and a master copy
  const double stages = d.mesh.pipeline, chunks = d.virtual_stages;
  // The first stage runs ahead the farthest.
  const bool gpipe = d.schedule == parallel::ScheduleKind::kGpipe;
  const bool interleaved = d.schedule == parallel::ScheduleKind::kInterleaved;
  const double ahead = gpipe         ? microbatches
                       : interleaved ? std::min(microbatches, (stages * chunks + stages - 1) / chunks)
                                     : std::min(microbatches, stages);
  m.blocks_in_flight = ahead * blocks;
  m.activations = m.blocks_in_flight * block_activation_bytes(s, d, machine.fused_attention);
  if (d.recompute == Recompute::kBlock) m.activations += whole_block_bytes(s, d, machine.fused_attention, true);
  const double rows = real(d.microbatch * s.context) / d.mesh.context;
  const double logits = rows * real(s.vocab) / d.mesh.tensor * (fp32 ? 4 : 6);
  const double stream = rows * real(s.width) * (fp32 ? 4 : 2);
  // Logits live on the last stage, where the fewest microbatches are in flight.
  m.buffers = 4 * stream + (d.mesh.pipeline == 1 ? logits : 0);
  return m;
}

}  // namespace banyan::plan
