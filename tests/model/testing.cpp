#include "tests/model/testing.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace banyan::testing {

using model::LocalParam;
using model::ModelShape;
using model::Stage;
using model::StageSpec;

ModelShape tiny_gpt2() {
  ModelShape m;
  m.layers = 2;
  m.width = 24;
  m.heads = m.kv_heads = 4;
  m.ffn = 40;
  m.context = 16;
  m.vocab = 37;
  m.init_std = 0.15;
  return m;
}

ModelShape tiny_llama() {
  ModelShape m = tiny_gpt2();
  m.width = 32;
  m.heads = 8;
  m.norm = model::Norm::kRms;
  m.position = model::Position::kRotary;
  m.mlp = model::Mlp::kSwiglu;
  m.bias = m.tied = false;
  return m;
}

std::vector<ModelShape> tiny_shapes() {
  ModelShape mixed = tiny_llama();
  mixed.bias = mixed.tied = true;
  return {tiny_gpt2(), tiny_llama(), mixed};
}

std::string kind_name(const ModelShape& m) {
  return std::string(m.mlp == model::Mlp::kSwiglu ? "llama" : "gpt2") + (m.tied ? ", tied" : "") +
         (m.bias ? ", biases" : "") + (m.dropout > 0 ? ", dropout" : "");
}

Tensors test_params(const ModelShape& shape) {
  Tensors values;
  for (const model::LogicalParam& p : model::logical_params(shape)) {
    std::vector<float> init(static_cast<std::size_t>(p.shape.count()));
    model::init_values(p, shape, 5, {0, p.shape[0]}, {0, p.shape.rank() == 2 ? p.shape[1] : 1}, init.data());
    std::vector<double>& out = values[p.name];
    for (std::size_t i = 0; i < init.size(); ++i)
      out.push_back(static_cast<float>(init[i] + 0.1 * rng::normal(rng::named_key(6, p.name), i)));
  }
  return values;
}

ReferenceBatch test_batch(const ModelShape& shape, std::int64_t sequences, std::int64_t length, int number) {
  ReferenceBatch b;
  b.sequences = sequences;
  b.length = length;
  b.step = 3;
  b.seed = 11;
  for (std::int64_t r = 0; r < b.rows(); ++r) {
    const std::uint64_t bits = rng::mix(static_cast<std::uint64_t>(r), static_cast<std::uint64_t>(number) + 77);
    b.tokens.push_back(static_cast<std::int32_t>(bits % static_cast<std::uint64_t>(shape.vocab)));
    b.targets.push_back(r % 7 == 5 ? -1
                                   : static_cast<std::int32_t>((bits >> 32) % static_cast<std::uint64_t>(shape.vocab)));
    if (shape.dropout > 0) b.sample.push_back((std::int64_t{1} << 33) + number * sequences + r / length);
  }
  return b;
}

model::MicrobatchData microbatch(const ReferenceBatch& b, float loss_scale, bool train) {
  return {.tokens = b.tokens,
          .targets = b.targets,
          .sample = b.sample,
          .step = b.step,
          .loss_scale = loss_scale,
          .train = train};
}

StageSpec whole(const ModelShape& shape, const ReferenceBatch& batch) {
  StageSpec spec;
  spec.shape = shape;
  spec.last_block = shape.layers;
  spec.sequences = batch.sequences;
  spec.length = batch.length;
  spec.seed = batch.seed;
  return spec;
}

namespace {

/// Calls f(local element, logical element) for every element of the slab.
void for_slab(const LocalParam& p, const std::function<void(std::size_t, std::size_t)>& f) {
  const std::int64_t columns = p.count.rank() == 2 ? p.count[1] : 1;
  const std::int64_t width = p.count.rank() == 2 ? p.logical.shape[1] : 1;
  const std::int64_t first = p.count.rank() == 2 ? p.offset[1] : 0;
  for (std::int64_t r = 0; r < p.count[0]; ++r)
    for (std::int64_t c = 0; c < columns; ++c)
      f(static_cast<std::size_t>(r * columns + c), static_cast<std::size_t>((p.offset[0] + r) * width + first + c));
}

}  // namespace

void set_params(Stage& stage, const Tensors& values) {
  for (const LocalParam& p : stage.params()) {
    const std::vector<double>& in = values.at(p.logical.name);
    std::vector<float> slab(static_cast<std::size_t>(p.count.count()));
    for_slab(p, [&](std::size_t local, std::size_t logical) { slab[local] = static_cast<float>(in[logical]); });
    const auto width = static_cast<std::size_t>(p.count.row_count());
    stage.fill_param(p, [&](const Shape& offset, View to) {
      const auto first = static_cast<std::size_t>(offset[0] - p.offset[0]) * width;
      std::copy_n(slab.data() + first, to.count(), to.as<float>());
    });
  }
  stage.params_changed();
}

kernels::Backend& backend() {
  thread_local const std::unique_ptr<kernels::Backend> cpu = kernels::make_cpu_backend({.threads = 1, .max_isa = ""});
  return *cpu;
}

void collect_grads(Stage& stage, Tensors& out) {
  for (LocalParam& p : stage.params()) {
    if (p.replicated && !p.partial_over_tensor && stage.spec().tensor_rank != 0) continue;
    const float* in = p.grad.as<float>();
    std::vector<double>& to = out.at(p.logical.name);
    for_slab(p, [&](std::size_t local, std::size_t logical) { to[logical] += in[local]; });
  }
}

Tensors zeros(const ModelShape& shape) {
  Tensors out;
  for (const model::LogicalParam& p : model::logical_params(shape))
    out[p.name].assign(static_cast<std::size_t>(p.shape.count()), 0.0);
  return out;
}

double worst_difference(const Tensors& a, const Tensors& b, std::string* name) {
  double all = 0, worst = 0;
  for (const auto& [_, values] : b)
    for (const double x : values) all += x * x;
  for (const auto& [key, values] : b) {
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      difference += std::pow(a.at(key)[i] - values[i], 2);
      size += values[i] * values[i];
    }
    const double relative = std::sqrt(difference) / std::max(std::sqrt(size), 1e-3 * std::sqrt(all));
    if (!(relative <= worst)) {
      worst = std::isnan(relative) ? INFINITY : relative;
      if (name) *name = key;
    }
  }
  return worst;
}

namespace {

/// Copies between neighbouring stages, which are threads here.
struct Wire {
  std::mutex mutex;
  std::map<std::string, std::vector<std::byte>> messages;

  void put(const std::string& key, View v) {
    const std::lock_guard lock(mutex);
    messages[key].assign(v.data, v.data + v.bytes());
  }
  bool take(const std::string& key, View v) {
    const std::lock_guard lock(mutex);
    const auto it = messages.find(key);
    if (it == messages.end()) return false;
    std::memcpy(v.data, it->second.data(), v.bytes());
    messages.erase(it);
    return true;
  }
  void wait(const std::string& key, View v) {
    Section section("a message of the neighbouring stage", Seconds(60));
    for (Backoff backoff; !take(key, v); backoff.pause()) section.check();
  }
};

StageSpec mesh_spec(const ModelShape& shape, const ReferenceBatch& batch, const MeshArgs& args, int tensor, int stage) {
  StageSpec spec = whole(shape, batch);
  spec.first_block = shape.layers * stage / args.stages;
  spec.last_block = shape.layers * (stage + 1) / args.stages;
  spec.has_embedding = stage == 0;
  spec.has_head = stage == args.stages - 1;
  spec.tensor_rank = tensor;
  spec.tensor_size = args.tensor;
  spec.sequence = args.sequence;
  spec.row_blocks = args.row_blocks;
  spec.recompute = args.recompute;
  spec.activations = args.activations;
  spec.split_backward = args.split;
  spec.part_blocks = args.part_blocks;
  return spec;
}

}  // namespace

MeshResult run_mesh(const ModelShape& shape, const Tensors& params, const std::vector<ReferenceBatch>& batches,
                    const MeshArgs& args) {
  MeshResult result;
  result.grads = zeros(shape);
  std::mutex mutex;
  Wire wire;
  const auto body = [&](comm::World* world, int rank) {
    kernels::Backend& cpu = backend();
    const int tensor = rank % args.tensor, place = rank / args.tensor;
    std::unique_ptr<comm::Communicator> group;
    if (world) {
      world->configure(
          {},
          [&](Queue q, View out, ConstView a, ConstView b, comm::ReduceOp op) {
            cpu.reduce(q, out, a, b, static_cast<kernels::ReduceOp>(op));
          },
          [&](Queue q, View out, ConstView in) { cpu.copy(q, out, in); });
      std::vector<int> members;
      for (int i = 0; i < args.tensor; ++i) members.push_back(place * args.tensor + i);
      group = world->group(members, 1 + place, "tensor group");
    }
    const StageSpec spec = mesh_spec(shape, batches[0], args, tensor, place);
    const std::unique_ptr<Stage> stage = Stage::make(spec, cpu, args.tensor > 1 ? group.get() : nullptr);
    set_params(*stage, params);
    stage->zero_grads();
    const std::string mine = "." + std::to_string(tensor) + "." + std::to_string(place);
    const std::string previous = "." + std::to_string(tensor) + "." + std::to_string(place - 1);
    const std::string next = "." + std::to_string(tensor) + "." + std::to_string(place + 1);
    std::int64_t counted = 0;
    for (const ReferenceBatch& b : batches)
      counted += std::count_if(b.targets.begin(), b.targets.end(), [](std::int32_t t) { return t >= 0; });
    for (std::size_t i = 0; i < batches.size(); ++i) {
      const std::string number = std::to_string(i);
      stage->load(0, microbatch(batches[i], 1.0f / static_cast<float>(counted)));
      if (!spec.has_embedding) wire.wait("activation" + number + mine, stage->input(0));
      stage->forward(0);
      if (!spec.has_head) {
        wire.put("activation" + number + next, stage->output(0));
        wire.wait("gradient" + number + mine, stage->d_output(0));
      } else if (tensor == 0) {
        const std::lock_guard lock(mutex);
        result.loss += *stage->loss_sum(0) / static_cast<double>(counted);
        for (const float loss : stage->row_losses(0)) result.row_losses.push_back(loss);
      }
      if (args.split) stage->backward_input(0);
      for (int part = 0; part < model::part_count(spec) && !args.split; ++part) stage->backward(0, part);
      if (!spec.has_embedding) wire.put("gradient" + number + previous, stage->d_input(0));
      for (int part = 0; part < model::part_count(spec) && args.split; ++part) stage->backward_weights(0, part);
    }
    const std::lock_guard lock(mutex);
    collect_grads(*stage, result.grads);
  };
  if (args.tensor * args.stages == 1)
    body(nullptr, 0);
  else
    comm::run_loopback(args.tensor * args.stages, [&](comm::World& world) { body(&world, world.rank()); });
  return result;
}

}  // namespace banyan::testing
