#include "src/app/hf_names.hpp"

#include <fmt/core.h>

#include <map>

#include "src/base/error.hpp"
#include "src/model/params.hpp"

namespace banyan::app {
namespace {

/// Adds tensors of theirs, made of logical parameters whose shapes it looks up.
class List {
 public:
  explicit List(const model::ModelShape& shape) {
    for (const model::LogicalParam& p : model::logical_params(shape)) shape_of_[p.name] = p.shape;
  }

  /// One of theirs for one or several of ours, which lie one behind the other.
  void add(const std::string& name, const std::vector<std::string>& logical, bool transposed) {
    HfTensor t;
    t.name = name;
    std::int64_t channels = 0;
    for (const std::string& l : logical) {
      const Shape& shape = shape_of_.at(l);
      t.pieces.push_back({l, shape, channels});
      channels += shape[0];
    }
    const Shape& first = t.pieces[0].shape;
    t.transposed = transposed && first.rank() == 2;
    t.shape.push_back(channels);
    if (first.rank() == 2) t.shape.push_back(first[1]);
    if (t.transposed) t.shape = {t.shape[1], t.shape[0]};
    tensors_.push_back(std::move(t));
  }
  /// Weight, and bias where the model has one.
  void layer(const std::string& name, const std::vector<std::string>& logical, bool transposed = false) {
    for (const char* suffix : {".weight", ".bias"}) {
      if (!shape_of_.count(logical[0] + suffix)) continue;
      std::vector<std::string> full;
      for (const std::string& l : logical) full.push_back(l + suffix);
      add(name + suffix, full, transposed);
    }
  }
  std::vector<HfTensor> take() { return std::move(tensors_); }

 private:
  std::map<std::string, Shape> shape_of_;
  std::vector<HfTensor> tensors_;
};

void gpt2(List& list, const model::ModelShape& s, const std::string& prefix) {
  list.layer(prefix + "wte", {"embed.token"});
  list.layer(prefix + "wpe", {"embed.position"});
  for (std::int64_t i = 0; i < s.layers; ++i) {
    const std::string ours = model::block_prefix(i), theirs = fmt::format("{}h.{}.", prefix, i);
    list.layer(theirs + "ln_1", {ours + "norm1"});
    list.layer(theirs + "attn.c_attn", {ours + "attn.q", ours + "attn.k", ours + "attn.v"}, true);
    list.layer(theirs + "attn.c_proj", {ours + "attn.o"}, true);
    list.layer(theirs + "ln_2", {ours + "norm2"});
    list.layer(theirs + "mlp.c_fc", {ours + "mlp.up"}, true);
    list.layer(theirs + "mlp.c_proj", {ours + "mlp.down"}, true);
  }
  list.layer(prefix + "ln_f", {"norm"});
}

void llama(List& list, const model::ModelShape& s) {
  list.layer("model.embed_tokens", {"embed.token"});
  for (std::int64_t i = 0; i < s.layers; ++i) {
    const std::string ours = model::block_prefix(i), theirs = fmt::format("model.layers.{}.", i);
    list.layer(theirs + "input_layernorm", {ours + "norm1"});
    for (const char* c : {"q", "k", "v", "o"})
      list.layer(fmt::format("{}self_attn.{}_proj", theirs, c), {fmt::format("{}attn.{}", ours, c)});
    list.layer(theirs + "post_attention_layernorm", {ours + "norm2"});
    for (const char* c : {"gate", "up", "down"})
      list.layer(fmt::format("{}mlp.{}_proj", theirs, c), {fmt::format("{}mlp.{}", ours, c)});
  }
  list.layer("model.norm", {"norm"});
}

}  // namespace

HfKind hf_kind(const model::ModelShape& s) {
  const auto require = [](bool good, const char* kind, const char* key, const char* value) {
    if (!good)
      throw ConfigError("Hugging Face has no such model: {} has model.{} = {}; this one has another", kind, key, value);
  };
  if (s.position == model::Position::kLearned) {
    const char* kind = "GPT-2, the kind with learned positions,";
    require(s.norm == model::Norm::kLayer, kind, "norm", "layer");
    require(s.mlp == model::Mlp::kGelu, kind, "mlp", "gelu");
    require(s.bias, kind, "bias", "true");
    require(s.kv_heads == s.heads, kind, "kv_heads", "model.heads");
    return HfKind::kGpt2;
  }
  const char* kind = "Llama, the kind with rotary positions,";
  require(s.norm == model::Norm::kRms, kind, "norm", "rms");
  require(s.mlp == model::Mlp::kSwiglu, kind, "mlp", "swiglu");
  return HfKind::kLlama;
}

std::vector<HfTensor> hf_tensors(const model::ModelShape& shape, HfKind kind, const std::string& prefix) {
  List list(shape);
  if (kind == HfKind::kGpt2)
    gpt2(list, shape, prefix);
  else
    llama(list, shape);
  if (!shape.tied) list.layer("lm_head", {"head"});
  return list.take();
}

bool hf_ignored(const std::string& name) {
  for (const char* end : {".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq"})
    if (name.ends_with(end)) return true;
  return false;
}

}  // namespace banyan::app
