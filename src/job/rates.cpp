#include "src/job/rates.hpp"

#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/gpu.hpp"
#include "src/base/bf16.hpp"
#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/base/section.hpp"
#include "src/job/setup.hpp"
#include "src/model/stage.hpp"
#include "src/plan/cost.hpp"
#include "src/plan/device_messages.hpp"
#include "src/plan/step_price.hpp"

namespace banyan::job {
namespace {

constexpr std::int64_t kMeasuredWidth = 2048, kMeasuredRows = 2048;
constexpr Seconds kPatience{0.2};
constexpr std::size_t kCopied = std::size_t{16} << 20;
/// Fused attention on a processor, as a share of what its products would take alone (perf/README.md).
constexpr double kAttentionShare = 0.55;

/// Best of a few calls: a busy machine only ever slows them.
double best_seconds(const std::function<void()>& call) {
  call();  // makes primitives, touches memory
  double best = 1e30;
  const Clock::time_point begun = Clock::now();
  for (int i = 0; i < 2 || (i < 50 && Seconds(Clock::now() - begun) < kPatience); ++i) {
    const Clock::time_point start = Clock::now();
    call();
    best = std::min(best, Seconds(Clock::now() - start).count());
  }
  return std::max(best, 1e-9);
}

/// Every element = value; f32 or bf16.
void fill(kernels::Backend& backend, View v, float value) {
  std::vector<std::byte> memory;
  View here = v;
  if (v.kind == MemoryKind::kDevice) {
    memory.resize(v.bytes());
    here = View(memory.data(), v.dtype, v.shape);
  }
  if (v.dtype == DType::kF32)
    std::fill_n(here.as<float>(), v.count(), value);
  else
    std::fill_n(here.as<BF16>(), v.count(), BF16(value));
  if (memory.empty()) return;
  backend.copy({}, v, here);
  backend.synchronize({});
}

/// Seconds of one block in the middle of a model, both directions, on one rank without tensor partners.
double block_seconds(kernels::Backend& backend, const model::ModelShape& shape, DType activations,
                     std::int64_t sequences) {
  model::StageSpec spec;
  spec.shape = shape;
  spec.shape.layers = 3;
  spec.first_block = 1;
  spec.last_block = 2;
  spec.has_embedding = spec.has_head = false;
  spec.sequences = sequences;
  spec.length = shape.context;
  spec.activations = activations;
  const std::unique_ptr<model::Stage> stage = model::Stage::make(spec, backend, nullptr);
  stage->init_params(1);
  const std::vector<std::int32_t> tokens(static_cast<std::size_t>(spec.rows()), 0);
  const std::vector<std::int64_t> samples(static_cast<std::size_t>(spec.rows()), 0);
  const View input = stage->input(0), gradient = stage->d_output(0);
  fill(backend, input, 0.5f);
  return best_seconds([&] {
    stage->load(0, {.tokens = tokens, .targets = tokens, .sample = samples});
    stage->forward(0);
    fill(backend, gradient, 1e-3f);
    stage->backward(0, 0);
    backend.synchronize({});
  });
}

/// The model's shape, small enough to be measured in a moment; all proportions kept that fit.
model::ModelShape measured_shape(const model::ModelShape& shape) {
  model::ModelShape s = shape;
  while (s.width > kMeasuredWidth && s.heads % 2 == 0 && s.kv_heads % 2 == 0 && s.ffn % 2 == 0) {
    s.width /= 2;
    s.heads /= 2;
    s.kv_heads /= 2;
    s.ffn /= 2;
  }
  s.context = std::min(s.context, kMeasuredRows);
  return s;
}

/// What carries the messages of this job's device.
plan::DeviceCarrier carrier_of(const Job& job) {
  if (job.world.size() < 2) return plan::DeviceCarrier::kNone;
  const plan::DeviceCarrier carrier = plan::device_carrier(job.config);
  // What comm.device = auto came to.
  return carrier == plan::DeviceCarrier::kNccl && !job.adds_on_device() ? plan::DeviceCarrier::kStaged : carrier;
}
bool copies(plan::DeviceCarrier carrier) {
  return carrier == plan::DeviceCarrier::kStaged || carrier == plan::DeviceCarrier::kUcx;
}

}  // namespace

double product_rate(kernels::Backend& backend, DType dtype, std::int64_t rows, std::int64_t out, std::int64_t in) {
  const auto matrix = [&](std::shared_ptr<void>& memory, std::int64_t height, std::int64_t width) {
    const std::size_t bytes = static_cast<std::size_t>(height * width) * size_of(dtype);
    memory = {backend.allocate(bytes), [&backend, bytes](void* p) { backend.release(p, bytes); }};
    return View(static_cast<std::byte*>(memory.get()), dtype, {height, width}, backend.memory_kind());
  };
  std::shared_ptr<void> memory[3];
  const View a = matrix(memory[0], rows, in), b = matrix(memory[1], out, in), c = matrix(memory[2], rows, out);
  fill(backend, a, 0.5f);
  fill(backend, b, 0.25f);
  const kernels::Gemm gemm{.c = c, .a = a, .b = b, .transpose_b = true, .bias = {}};
  const double seconds = best_seconds([&] {
    backend.gemm({}, gemm);
    backend.synchronize({});
  });
  return 2.0 * static_cast<double>(rows * out * in) / seconds;
}

double host_link_rate(kernels::DeviceBackend& device) {
  const std::shared_ptr<void> there(device.allocate(kCopied), [&](void* p) { device.release(p, kCopied); });
  const std::shared_ptr<void> here(device.allocate_host(kCopied), [&](void* p) { device.release_host(p, kCopied); });
  const auto view = [](void* p, MemoryKind kind) {
    return View(static_cast<std::byte*>(p), DType::kF32, {static_cast<std::int64_t>(kCopied / sizeof(float))}, kind);
  };
  const View on_device = view(there.get(), MemoryKind::kDevice), on_host = view(here.get(), MemoryKind::kHost);
  fill(device, on_device, 0);
  const auto rate = [&](Queue q, View to, ConstView from) {
    return static_cast<double>(kCopied) / best_seconds([&] {
             device.copy(q, to, from);
             device.synchronize(q);
           });
  };
  const double to_host = rate(device.to_host(), on_host, on_device);
  return std::min(to_host, rate(device.to_device(), on_device, on_host));
}

void carry_messages(plan::Machine& m, const Job& job) {
  try {
    plan::carry(m, carrier_of(job), job.plans.links.reduce_rate);
  } catch (const ConfigError& e) {
    plan::carry(m, plan::DeviceCarrier::kNone);
    log::warning("predicted step times leave out copies between GPUs and hosts: {}", e.what());
  }
}

void use_links(plan::Machine& m, const comm::Links& links) {
  const double ranks = m.ranks_per_node;
  m.links = {{.ranks = ranks, .latency = links.node.latency, .rate = links.node.rate},
             {.ranks = 0, .latency = links.leaf.latency, .rate = links.leaf.rate / ranks}};
}

plan::Machine measure_machine(kernels::Backend& backend, const plan::Layout& layout, const RankPlaces& places) {
  plan::Machine m;
  m.name = "this machine, measured";
  const model::ModelShape shape = measured_shape(layout.model);
  const std::int64_t sequences = std::clamp<std::int64_t>(kMeasuredRows / shape.context, 1, layout.sequences);
  // The largest product of a block on one tensor rank, and whole.
  const std::int64_t rows = sequences * shape.context, tensor = layout.mesh.tensor;
  const DType dtype = layout.activations;
  const auto peak = [dtype](plan::Machine& of) -> double& { return dtype == DType::kBF16 ? of.bf16 : of.fp32; };
  peak(m) = product_rate(backend, dtype, rows, std::max<std::int64_t>(1, shape.ffn / tensor), shape.width);
  m.attention_efficiency = kAttentionShare;
  m.ranks_per_node = places.node_ranks;
  use_links(m, {});

  // What a block takes beyond its products and attention is said to go through memory, whatever it really is.
  plan::Division alone;
  alone.microbatch = sequences;
  alone.precision = dtype == DType::kBF16 ? plan::Precision::kBf16 : plan::Precision::kFp32;
  const double seconds = block_seconds(backend, shape, dtype, sequences);
  plan::Machine endless = m;
  if (tensor > 1) peak(endless) = product_rate(backend, dtype, rows, shape.ffn, shape.width);
  endless.memory_rate = 1e18;
  const plan::BlockPrice arithmetic = plan::block_price(shape, alone, endless);
  plan::Machine unit = endless;
  peak(unit) = 1e18;
  unit.memory_rate = 1;
  const double streamed = plan::block_price(shape, alone, unit).streams.total();
  const double left = seconds - arithmetic.forward() - arithmetic.backward();
  m.memory_rate = streamed / std::max(left, 0.02 * seconds);

  // Ranks that have cores of their own do not disturb each other; others take turns.
  if (places.node_ranks * places.threads > places.cores) {
    m.cores = std::max(1, places.cores / places.threads);
    m.memory_rate *= std::min(places.node_ranks, m.cores);  // the measured rate is one rank's
  }
  return m;
}

const plan::Machine& machine_of(Job& job, const plan::Layout& layout) {
  if (job.machine) return *job.machine;
  const std::string& file = job.config.run.machine;
  if (!file.empty()) return job.machine.emplace(plan::load_machine(file));
  RankPlaces places;
  places.node_ranks = job.world.local_size();
  places.cores = static_cast<int>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  places.threads = job.threads;
  const auto beside_the_plan = job.device() ? job.device()->beside() : nullptr;
  plan::Machine& m = job.machine.emplace(measure_machine(*job.backend, layout, places));
  if (job.device() && copies(carrier_of(job))) m.host_link = host_link_rate(*job.device());
  return m;
}

}  // namespace banyan::job
