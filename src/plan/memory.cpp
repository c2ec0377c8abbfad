#include "src/plan/memory.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/gpu.hpp"
#include "src/base/units.hpp"
#include "src/model/activation_plan.hpp"
#include "src/model/local_params.hpp"
#include "src/model/param_store.hpp"

namespace banyan::plan {
namespace {

constexpr std::int64_t kFloat = 4;
constexpr std::int64_t kFileChunk = std::int64_t{8} << 20;      // of io/block_writer and io/stored_file
constexpr std::int64_t kPiecesToNodes = std::int64_t{4} << 20;  // of src/job/file_exchange
constexpr std::int64_t kCollectiveScratch = std::int64_t{1} << 20;

/// Elements of the optimizer state a rank keeps.
std::int64_t optimizer_elements(const Layout& layout, const std::vector<model::LocalParam>& params,
                                const parallel::Coordinate& c) {
  if (!layout.zero || layout.mesh.data == 1) return model::arena_count(params);
  std::int64_t elements = 0;
  for (const model::LocalParam& p : params) {
    if (p.count.rank() == 0) continue;
    elements += model::owned_rows(p.count[0], c.data, layout.mesh.data).count() * p.count.row_count();
  }
  return elements;
}

/// Values that a rank writes into a checkpoint, parameters and both moments (src/train/state.cpp decides which).
std::int64_t saved_elements(const Layout& layout, const std::vector<model::LocalParam>& params,
                            const parallel::Coordinate& c) {
  std::int64_t elements = 0;
  for (const model::LocalParam& p : params) {
    if (p.tied_copy || p.count.rank() == 0) continue;
    std::int64_t rows = model::owned_rows(p.count[0], c.data, layout.mesh.data).count();
    if (p.replicated) rows = model::owned_rows(rows, c.tensor, layout.mesh.tensor).count();
    elements += rows * p.count.row_count();
  }
  return 3 * elements;
}

/// oneDNN's product of fp32 packs blocks in memory of malloc's, in every call anew; of the holes that are left, those
/// of each thread stay with the process (glibc 2.36: 21 to 28 MiB; without them a step takes 1.3 % longer).
constexpr std::int64_t kKeptByMalloc = std::int64_t{20} << 20;

/// Buffers of one of NCCL's communicators: 4 MiB (NCCL_BUFFSIZE, "NVIDIA NCCL Documentation", Environment Variables) to
/// and from a neighbour in each of 16 channels.  An estimate: how many channels there are depends on the links.
constexpr std::int64_t kNcclGroup = std::int64_t{16 * 2 * 4} << 20;

/// Bytes that travel through the two staging buffers, which the buckets take in turn: gradients, and with ZeRO-1 the
/// updated rows that come back.
std::array<std::int64_t, 2> staged(const Layout& layout, const model::StageSpec& spec,
                                   const std::vector<model::LocalParam>& params) {
  const auto of = [](DType dtype) { return static_cast<std::int64_t>(size_of(dtype)); };
  std::vector<std::int64_t> parts(static_cast<std::size_t>(model::part_count(spec)), 0), updates = parts;
  for (const model::LocalParam& p : params) {
    parts[static_cast<std::size_t>(p.part)] += p.count.count() * of(layout.gradients);
    if (layout.zero)
      updates[static_cast<std::size_t>(p.part)] += p.count.count() * of(p.spread ? DType::kBF16 : DType::kF32);
  }
  for (std::size_t i = 0; i < parts.size(); ++i) parts[i] = std::max(parts[i], updates[i]);
  std::array<std::int64_t, 2> largest{};
  for (std::size_t i = 0; i < parts.size(); ++i) largest[i % 2] = std::max(largest[i % 2], parts[i]);
  return largest;
}

/// Elements of the largest bucket that tensor ranks add up among themselves.
std::int64_t partial_elements(const model::StageSpec& spec, const std::vector<model::LocalParam>& params) {
  std::vector<std::int64_t> parts(static_cast<std::size_t>(model::part_count(spec)), 0);
  for (const model::LocalParam& p : params)
    if (p.partial_over_tensor) parts[static_cast<std::size_t>(p.part)] += p.count.count();
  return parts.empty() ? 0 : *std::max_element(parts.begin(), parts.end());
}

/// What the backend keeps for itself: the packing of the largest matrix product, tiles of attention, rotary angles.
/// cached: the longest sequence of `single` ones that have one query each.
std::int64_t kernel_scratch(const model::StageSpec& spec, int threads, std::int64_t rows, std::int64_t single = 0,
                            std::int64_t cached = 0) {
  const model::ModelShape& m = spec.shape;
  const std::int64_t width = m.width, ranks = spec.tensor_size;
  const std::int64_t query = m.heads * m.head_size() / ranks;
  const std::int64_t qkv = query + 2 * m.kv_heads * m.head_size() / ranks;
  const std::int64_t ffn = m.ffn / ranks, wide = m.mlp == model::Mlp::kSwiglu ? 2 * ffn : ffn;
  std::vector<kernels::CpuScratchNeed::Product> products;
  const auto linear = [&](std::int64_t n, std::int64_t out, std::int64_t in) {
    products.push_back({n, out, in});                      // forward
    if (spec.gradients) products.push_back({n, in, out});  // gradient of the input
    if (spec.gradients) products.push_back({out, in, n});  // gradient of the weight
  };
  if (spec.last_block > spec.first_block) {
    linear(rows, qkv, width);
    linear(rows, width, query);
    linear(rows, wide, width);
    linear(rows, width, ffn);
  }
  if (spec.has_head)
    linear(model::head_chunk_rows(spec, rows), model::split_range(m.vocab, 0, spec.tensor_size).count(), width);
  return static_cast<std::int64_t>(
      kernels::cpu_scratch_bytes({.threads = threads,
                                  .head_size = static_cast<int>(m.head_size()),
                                  .rotary_positions = m.position == model::Position::kRotary ? m.context : 0,
                                  .gemms = products,
                                  .activations = spec.activations,
                                  .keys = spec.gradients ? spec.length : 0,
                                  .single_queries = spec.length == 1 ? spec.sequences : single,
                                  .heads = m.heads / ranks,
                                  .cached_keys = std::max<std::int64_t>(1, cached)}));
}

/// What is mounted elsewhere is not known before the job runs.
bool lies_in_memory(const std::string& path) { return path == "/dev/shm" || path.starts_with("/dev/shm/"); }

/// Threads of a rank that shares no node with others, when the config leaves the number open.
int threads_of(const config::Config& config) {
  if (config.run.threads > 0) return static_cast<int>(config.run.threads);
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

bool saves_in_background(const config::Config& config) {
  const auto& keys = config.checkpoint;
  return keys.async == "on" && (keys.every_steps > 0 || keys.interval == "auto" || !keys.local.empty());
}

bool drains_nodes(const config::Config& config) {
  const auto& keys = config.checkpoint;
  return saves_in_background(config) && !keys.local.empty() && (keys.every_steps > 0 || keys.interval == "auto");
}

std::int64_t generation_bytes(const model::StageSpec& spec, int threads, std::int32_t blocks, std::int32_t block_size,
                              std::int64_t rows, std::int64_t batch) {
  const std::int64_t positions = std::min(spec.shape.context, std::int64_t{blocks} * block_size);
  return static_cast<std::int64_t>(model::infer_plan(spec, blocks, block_size, rows).bytes) +
         kernel_scratch(spec, threads, rows, batch, positions);
}

std::int64_t MemoryPlan::total() const {
  std::int64_t sum = 0;
  for (const MemoryRow& row : rows) sum += row.bytes;
  return sum;
}

std::int64_t MemoryPlan::total(MemoryKind kind) const {
  std::int64_t sum = 0;
  for (const MemoryRow& row : rows) sum += row.kind == kind ? row.bytes : 0;
  return sum;
}

std::int64_t MemoryPlan::arrays(MemoryKind kind) const {
  std::int64_t sum = 0;
  for (const MemoryRow& row : rows) sum += row.kind == kind && !row.own ? row.bytes : 0;
  return sum;
}

std::int64_t MemoryPlan::on_node() const { return total(MemoryKind::kHost) + (files ? files->bytes : 0); }

std::int64_t MemoryPlan::scarcest() const {
  const std::int64_t device = total(MemoryKind::kDevice);
  return device > 0 ? device : on_node();
}

std::string MemoryPlan::str() const {
  std::size_t width = total(MemoryKind::kDevice) > 0 ? 11 : 5;
  for (const MemoryRow& row : rows) width = std::max(width, row.name.size());
  std::string text;
  for (const MemoryRow& row : rows)
    text +=
        fmt::format("  {:<{}}  {:>10}  {}\n", row.name, width, format_bytes(static_cast<double>(row.bytes)), row.how);
  const auto sum = [&](const char* name, std::int64_t bytes, const char* how = "") {
    text += fmt::format("  {:<{}}  {:>10}{}{}\n", name, width, format_bytes(static_cast<double>(bytes)),
                        *how ? "  " : "", how);
  };
  if (total(MemoryKind::kDevice) == 0) {
    sum("total", total());
  } else {
    sum("of the GPU", total(MemoryKind::kDevice));
    sum("of the host", total(MemoryKind::kHost));
  }
  if (files) sum(files->name.c_str(), files->bytes, files->how.c_str());
  return text;
}

MemoryPlan memory_plan(const Layout& layout, const config::Config& config, const parallel::Coordinate& c) {
  MemoryPlan plan;
  const bool cuda = config.run.backend == "cuda";
  MemoryKind kind = cuda ? MemoryKind::kDevice : MemoryKind::kHost;
  const auto add = [&](std::string name, std::int64_t bytes, std::string how) {
    if (bytes > 0) plan.rows.push_back({std::move(name), bytes, std::move(how), kind, false});
  };
  const model::StageSpec spec = layout.stage_spec(c);
  const std::vector<model::LocalParam> params = model::local_params(spec);
  const std::int64_t count = model::arena_count(params);
  const model::ValueBytes values = model::value_bytes(params, spec.weights);
  add("parameters", values.bytes(),
      values.narrow == 0 ? fmt::format("{} x {} B", values.wide, kFloat)
                         : fmt::format("matrices in {}: {} B, the rest {} x {} B", name_of(spec.weights), values.narrow,
                                       values.wide, kFloat));
  if (spec.activations == DType::kBF16)
    add("rounded matrices", count * 2, fmt::format("{} x 2 B, what blocks compute with", count));
  if (spec.gradients) add("gradients", count * kFloat, fmt::format("{} x {} B", count, kFloat));
  if (layout.use == Use::kTrain) {
    const std::int64_t mine = optimizer_elements(layout, params, c);
    add("optimizer", 2 * mine * kFloat, fmt::format("2 moments x {} x {} B", mine, kFloat));
  }
  if (spec.slots > 0) {
    const model::ActivationPlan activations = model::activation_plan(spec);
    const auto slot = static_cast<std::int64_t>(activations.slot_bytes) + 12 * spec.rows();
    add("activations", spec.slots * slot,
        fmt::format("{} microbatch{} in flight{} x {}", spec.slots, spec.slots == 1 ? "" : "es",
                    layout.chunks > 1 ? ", each in one chunk," : "", format_bytes(static_cast<double>(slot))));
    add("scratch", static_cast<std::int64_t>(activations.scratch_bytes), "of one block and the head");
  }
  if (spec.slots > 0 && cuda) {
    add("kernels", static_cast<std::int64_t>(kernels::kCudaScratch), "workspaces, and row numbers on their way");
    plan.rows.back().own = true;
  }
  if (spec.slots > 0 && !cuda) {
    const std::int64_t threads = threads_of(config),
                       kept = spec.activations == DType::kF32 ? threads * kKeptByMalloc : 0;
    add("kernels", kernel_scratch(spec, static_cast<int>(threads), spec.rows()) + kept,
        fmt::format("packing and tiles of {} threads{}", threads,
                    kept > 0 ? fmt::format(", and {} x 20 MiB that malloc keeps of them", threads) : ""));
  }
  const bool stages_gradients = layout.zero || layout.gradients != DType::kF32;
  if (layout.use == Use::kTrain && stages_gradients && layout.mesh.data > 1) {
    std::array<std::int64_t, 2> bytes = staged(layout, spec, params);
    // The two buffers are equal; pages of the host's that no bucket reaches are never touched.
    if (cuda) bytes.fill(std::max(bytes[0], bytes[1]));
    add("shard staging", bytes[0] + bytes[1], fmt::format("2 buckets: {} + {} B", bytes[0], bytes[1]));
  }
  if (layout.use == Use::kTrain && layout.mesh.tensor > 1) {
    const std::int64_t elements = partial_elements(spec, params);
    add("norm gradients", elements * kFloat,
        fmt::format("{} x {} B on their way between tensor ranks", elements, kFloat));
  }
  if (layout.use == Use::kTrain && cuda)
    add("loading", model::loading_bytes(params, spec.weights), "rows of a matrix before they are rounded");
  if (cuda && config.comm.device != "staged") {
    const parallel::MeshShape& mesh = layout.mesh;
    const int groups = (mesh.tensor > 1) + (mesh.pipeline > 1) + (mesh.data > 1 && layout.use == Use::kTrain) +
                       (layout.use == Use::kTrain && layout.ties_stages());
    add("NCCL", groups * kNcclGroup, fmt::format("{} communicators x 128 MiB, about", groups));
    if (groups > 0) plan.rows.back().own = true;
  }
  kind = MemoryKind::kHost;
  // A collective adds up in pieces of at most 1 MiB of scratch (comm/plans/choose.cpp); one for each bucket under way.
  std::int64_t collectives = layout.mesh.tensor > 1 ? 1 : 0;
  if (layout.use == Use::kTrain && layout.mesh.data > 1)
    collectives += stages_gradients ? 2 : static_cast<std::int64_t>(model::part_count(spec));
  add("collectives", collectives * kCollectiveScratch, fmt::format("{} under way x 1 MiB", collectives));
  const std::int64_t saved = layout.use == Use::kTrain ? saved_elements(layout, params, c) : 0;
  if (layout.use == Use::kTrain && saves_in_background(config))
    add("snapshot", saved * kFloat, fmt::format("{} x {} B, the copy a checkpoint is written from", saved, kFloat));
  if (layout.use == Use::kTrain && cuda)
    add("pinned copy", saved * kFloat, fmt::format("{} x {} B, what a checkpoint is copied to", saved, kFloat));
  if (layout.use == Use::kTrain) add("checkpoint", 2 * kFileChunk, "2 chunks of 8 MiB while a file is written or read");
  if (layout.use == Use::kTrain && !config.checkpoint.local.empty()) {
    add("node-local copies", kPiecesToNodes, "on their way to and from other nodes, 4 pieces of 1 MiB");
    const bool drains = drains_nodes(config);
    if (drains) add("drain", 3 * kFileChunk, "3 chunks of 8 MiB while a file is copied from the node to run.dir");
    if (lies_in_memory(config.checkpoint.local)) {
      const std::int64_t times = 2 * (config.checkpoint.local_keep + 1 + drains);
      plan.files =
          MemoryRow{"besides", times * saved * kFloat,
                    fmt::format("in {}: {} node-local checkpoints, one being written{}, with a copy of another "
                                "node's, {} x {} x {} B",
                                config.checkpoint.local, config.checkpoint.local_keep,
                                drains ? " and one being copied to run.dir" : "", times, saved, kFloat)};
    }
  }
  return plan;
}

}  // namespace banyan::plan
