// torch_dump KIND DIR: computes a small model of a kind (gpt2, llama, llama_tied) and AdamW, and writes everything an
// independent implementation needs to do the same: parameters, tokens, logits, loss, gradients, losses of ten steps.
// KIND with _bf16 behind it computes in bf16; it has no logits, which are generation's, and generation computes in fp32.
// Tensors are raw little-endian files; DIR/index.txt has a line "name dtype extent extent ..." for each of them, and
// DIR/shape.txt a line "key value" for each number of the model.
#include <fmt/core.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "kernels/backend.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "src/model/stage.hpp"

namespace banyan {
namespace {

constexpr std::int64_t kSequences = 4, kLength = 48, kRows = kSequences * kLength;
constexpr int kSteps = 10;
constexpr float kLr = 3e-3f, kBeta1 = 0.9f, kBeta2 = 0.95f, kEps = 1e-8f, kDecay = 0.1f, kClip = 1.0f;

class Writer {
 public:
  explicit Writer(std::string dir) : dir_(std::move(dir)), index_(dir_ + "/index.txt"), numbers_(dir_ + "/shape.txt") {}

  void tensor(const std::string& name, ConstView v) {
    std::ofstream file(dir_ + "/" + name + ".bin", std::ios::binary);
    file.write(reinterpret_cast<const char*>(v.data), static_cast<std::streamsize>(v.bytes()));
    index_ << name << ' ' << name_of(v.dtype);
    for (int i = 0; i < v.shape.rank(); ++i) index_ << ' ' << v.shape[i];
    index_ << '\n';
    if (!file || !index_) throw IoError("cannot write {} in {}", name, dir_);
  }
  void number(const std::string& key, double value) { numbers_ << key << ' ' << fmt::format("{}", value) << '\n'; }

 private:
  std::string dir_;
  std::ofstream index_, numbers_;
};

model::ModelShape shape_of(const std::string& kind) {
  model::ModelShape m;
  m.layers = 3;
  m.width = 64;
  m.heads = m.kv_heads = 4;
  m.ffn = 256;
  m.context = 64;
  m.vocab = 503;
  m.init_std = 0.08;
  if (kind == "gpt2") return m;
  m.heads = 8;
  m.kv_heads = 2;
  m.ffn = 176;
  m.norm = model::Norm::kRms;
  m.position = model::Position::kRotary;
  m.mlp = model::Mlp::kSwiglu;
  m.bias = false;
  m.tied = kind == "llama_tied";
  m.rope_theta = 500;
  m.norm_eps = 1e-6;
  if (kind != "llama" && kind != "llama_tied") throw UsageError("the kinds are gpt2, llama and llama_tied");
  return m;
}

void write_shape(Writer& w, const model::ModelShape& m) {
  w.number("layers", static_cast<double>(m.layers));
  w.number("width", static_cast<double>(m.width));
  w.number("heads", static_cast<double>(m.heads));
  w.number("kv_heads", static_cast<double>(m.kv_heads));
  w.number("tied", m.tied);
  w.number("rope_theta", m.rope_theta);
  w.number("norm_eps", m.norm_eps);
  w.number("steps", kSteps);
  w.number("lr", kLr);
  w.number("beta1", kBeta1);
  w.number("beta2", kBeta2);
  w.number("eps", kEps);
  w.number("decay", kDecay);
  w.number("clip", kClip);
}

struct Tokens {
  std::vector<std::int32_t> tokens, targets;
};
/// Text with some structure, so that ten steps learn something: the target mostly follows from the token.
Tokens make_tokens(std::int64_t vocab) {
  Tokens t;
  for (std::int64_t r = 0; r < kRows; ++r) {
    const std::uint64_t bits = rng::mix(static_cast<std::uint64_t>(r), 1);
    const std::int64_t token = static_cast<std::int64_t>(bits % static_cast<std::uint64_t>(vocab));
    t.tokens.push_back(static_cast<std::int32_t>(token));
    t.targets.push_back(r % 11 == 3 ? -1 : static_cast<std::int32_t>((token * 7 + 3) % 50));
  }
  return t;
}

void write_logits(Writer& w, model::Stage& stage, const Tokens& t) {
  const std::int32_t block_size = 16, blocks_each = static_cast<std::int32_t>(kLength) / block_size;
  std::vector<std::int32_t> table, offsets{0}, start(kSequences, 0), rows;
  for (std::int32_t s = 0; s < kSequences; ++s) offsets.push_back((s + 1) * static_cast<std::int32_t>(kLength));
  for (std::int32_t b = 0; b < blocks_each * kSequences; ++b) table.push_back(b);
  for (std::int32_t r = 0; r < kRows; ++r) rows.push_back(r);
  stage.make_cache(blocks_each * static_cast<std::int32_t>(kSequences), block_size, kRows);
  stage.infer({t.tokens, offsets, start, table, blocks_each}, {});
  std::vector<float> logits;
  stage.logits(rows, logits);
  w.tensor("logits", ConstView(logits.data(), {kRows, stage.spec().shape.vocab}));
}

/// Ten steps on the same batch: the loss before each update.
std::vector<double> train(model::Stage& stage, kernels::Backend& backend, const Tokens& t, float loss_scale,
                          Writer& w) {
  std::vector<float> m(static_cast<std::size_t>(stage.param_arena().count())), v(m.size());
  std::vector<double> losses;
  for (int step = 1; step <= kSteps; ++step) {
    stage.zero_grads();
    stage.load(0, {.tokens = t.tokens,
                   .targets = t.targets,
                   .sample = {},
                   .step = step,
                   .loss_scale = loss_scale,
                   .train = true});
    stage.forward(0);
    losses.push_back(*stage.loss_sum(0) * loss_scale);
    stage.backward(0, 0);
    if (step == 1)
      for (const model::LocalParam& p : stage.params()) w.tensor("grad." + p.logical.name, p.grad);
    const double norm = std::sqrt(*backend.sum_squares({}, stage.grad_arena()));
    const float scale = norm > kClip ? static_cast<float>(kClip / norm) : 1.0f;
    for (const model::LocalParam& p : stage.params()) {
      const std::int64_t n = p.count.count();
      backend.adamw({}, p.param.reshaped({n}), p.grad.reshaped({n}), View(m.data() + p.begin, {n}),
                    View(v.data() + p.begin, {n}),
                    {kLr, kBeta1, kBeta2, kEps, p.logical.decay ? kDecay : 0.0f, step, scale});
    }
    stage.params_changed();
  }
  return losses;
}

/// AdamW alone: parameters and one gradient per step go out before, the parameters after five steps behind.
void write_adamw(Writer& w, kernels::Backend& backend) {
  const std::int64_t n = 1001;
  std::vector<float> x(n), m(n), v(n), grads(5 * n);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(rng::normal(1, i));
  for (std::size_t i = 0; i < grads.size(); ++i)
    grads[i] = static_cast<float>(rng::normal(2, i) * std::pow(10.0, -static_cast<double>(i % 7)));
  w.tensor("adamw.before", ConstView(x.data(), {n}));
  w.tensor("adamw.grads", ConstView(grads.data(), {5, n}));
  for (int step = 1; step <= 5; ++step)
    backend.adamw({}, View(x.data(), {n}), ConstView(grads.data() + (step - 1) * n, {n}), View(m.data(), {n}),
                  View(v.data(), {n}), {kLr, kBeta1, kBeta2, kEps, kDecay, step, 1.0f});
  w.tensor("adamw.after", ConstView(x.data(), {n}));
}

void dump(const std::string& name, const std::string& dir) {
  Writer w(dir);
  const auto backend = kernels::make_cpu_backend({});
  const std::string suffix = "_bf16";
  const bool bf16 = name.ends_with(suffix);
  model::StageSpec spec;
  spec.shape = shape_of(bf16 ? name.substr(0, name.size() - suffix.size()) : name);
  if (bf16) spec.activations = DType::kBF16;
  spec.last_block = spec.shape.layers;
  spec.sequences = kSequences;
  spec.length = kLength;
  const auto stage = model::Stage::make(spec, *backend, nullptr);
  stage->init_params(17);
  // Biases and norms start at zero and one; noise makes them count.
  for (const model::LocalParam& p : stage->params())
    if (p.count.rank() == 1)
      for (std::int64_t i = 0; i < p.count[0]; ++i)
        p.param.as<float>()[i] +=
            static_cast<float>(0.1 * rng::normal(rng::named_key(3, p.logical.name), static_cast<std::uint64_t>(i)));
  stage->params_changed();

  const Tokens t = make_tokens(spec.shape.vocab);
  std::int64_t counted = 0;
  for (const std::int32_t target : t.targets) counted += target >= 0;
  write_shape(w, spec.shape);
  w.tensor("tokens", ConstView(t.tokens.data(), {kSequences, kLength}));
  w.tensor("targets", ConstView(t.targets.data(), {kSequences, kLength}));
  for (const model::LocalParam& p : stage->params()) w.tensor("param." + p.logical.name, p.param);
  if (!bf16) write_logits(w, *stage, t);
  const std::vector<double> losses = train(*stage, *backend, t, 1.0f / static_cast<float>(counted), w);
  w.tensor("losses", ConstView(losses.data(), {kSteps}));
  write_adamw(w, *backend);
}

}  // namespace
}  // namespace banyan

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: torch_dump KIND DIR\n", stderr);
    return 64;
  }
  try {
    banyan::dump(argv[1], argv[2]);
  } catch (const banyan::Error& e) {
    std::fprintf(stderr, "torch_dump: %s\n", e.what());
    return static_cast<int>(e.code());
  }
  return 0;
}
