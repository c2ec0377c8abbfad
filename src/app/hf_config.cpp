#include "src/app/hf_config.hpp"

#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "src/base/log.hpp"
#include "src/config/load.hpp"

namespace banyan::app {
namespace {

/// Looks at members; refuses what the model here does not do.
class Reader {
 public:
  Reader(const Json& json, const std::string& context) : json_(json), context_(context) {}

  std::int64_t integer(const char* key) const { return get<std::int64_t>(json_, key, context_); }
  std::int64_t integer_or(const char* key, std::int64_t otherwise) const {
    return get_or<std::int64_t>(json_, key, otherwise, context_);
  }
  double real_or(const char* key, double otherwise) const { return get_or<double>(json_, key, otherwise, context_); }
  bool flag_or(const char* key, bool otherwise) const { return get_or<bool>(json_, key, otherwise, context_); }
  std::string text_or(const char* key, const char* otherwise) const {
    return get_or<std::string>(json_, key, otherwise, context_);
  }
  bool has(const char* key) const { return json_.contains(key) && !json_[key].is_null(); }
  const Json& at(const char* key) const { return json_[key]; }

  void require(bool good, const char* key, const std::string& wanted) const {
    if (good) return;
    throw ConfigError("{}: {} = {} is a variant that is not supported; it would have to be {}", context_, key,
                      json_.contains(key) ? json_[key].dump().substr(0, 100) : "(absent)", wanted);
  }
  const std::string& context() const { return context_; }

 private:
  const Json& json_;
  std::string context_;
};

void read_gpt2(const Reader& r, config::Config& c) {
  auto& m = c.model;
  m.width = r.integer("n_embd");
  m.heads = r.integer("n_head");
  m.layers = r.integer("n_layer");
  m.context = r.integer("n_positions");
  m.vocab = r.integer("vocab_size");
  m.kv_heads = m.heads;
  m.ffn = r.integer_or("n_inner", 4 * m.width);
  m.norm_eps = r.real_or("layer_norm_epsilon", 1e-5);
  m.tied = r.flag_or("tie_word_embeddings", true);
  m.bias = true;
  m.norm = "layer";
  m.position = "learned";
  m.mlp = "gelu";
  const std::string activation = r.text_or("activation_function", "gelu_new");
  r.require(activation == "gelu_new" || activation == "gelu_pytorch_tanh", "activation_function", "gelu_new");
  r.require(r.flag_or("scale_attn_weights", true), "scale_attn_weights", "true");
  r.require(!r.flag_or("scale_attn_by_inverse_layer_idx", false), "scale_attn_by_inverse_layer_idx", "false");
  r.require(!r.flag_or("add_cross_attention", false), "add_cross_attention", "false");
  const double residual = r.real_or("resid_pdrop", 0.1), attention = r.real_or("attn_pdrop", 0.1),
               embedding = r.real_or("embd_pdrop", 0.1);
  m.dropout = residual == attention && residual == embedding ? residual : 0;
  if (m.dropout != residual)
    log::warning("{}: resid_pdrop, attn_pdrop and embd_pdrop differ; model.dropout is set to 0", r.context());
}

void read_llama(const Reader& r, config::Config& c) {
  auto& m = c.model;
  m.width = r.integer("hidden_size");
  m.heads = r.integer("num_attention_heads");
  m.layers = r.integer("num_hidden_layers");
  m.context = r.integer("max_position_embeddings");
  m.vocab = r.integer("vocab_size");
  m.kv_heads = r.integer_or("num_key_value_heads", m.heads);
  m.ffn = r.integer("intermediate_size");
  m.norm_eps = r.real_or("rms_norm_eps", 1e-6);
  m.rope_theta = r.real_or("rope_theta", 10000);
  m.tied = r.flag_or("tie_word_embeddings", false);
  m.bias = r.flag_or("attention_bias", false);
  m.norm = "rms";
  m.position = "rotary";
  m.mlp = "swiglu";
  r.require(r.flag_or("mlp_bias", false) == m.bias, "mlp_bias", "the same as attention_bias");
  r.require(r.text_or("hidden_act", "silu") == "silu", "hidden_act", "silu");
  r.require(m.heads > 0 && r.integer_or("head_dim", m.width / m.heads) * m.heads == m.width, "head_dim",
            "hidden_size / num_attention_heads");
  m.dropout = r.real_or("attention_dropout", 0);
  // Older files say rope_scaling, newer ones rope_parameters, with the base inside.
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!r.has(key)) continue;
    const Reader rope(r.at(key), r.context() + ": " + key);
    const std::string type = rope.text_or("rope_type", rope.text_or("type", "default").c_str());
    r.require(r.at(key).is_object() && type == "default", key, "absent, or of the type default");
    m.rope_theta = rope.real_or("rope_theta", m.rope_theta);
  }
}

}  // namespace

config::Config from_hf_config(const Json& json, const std::string& context) {
  if (!json.is_object()) throw DataError("{} is no JSON object", context);
  const Reader r(json, context);
  config::Config c = config::defaults();
  const std::string kind = get<std::string>(json, "model_type", context);
  r.require(kind == "gpt2" || kind == "llama", "model_type", "gpt2 or llama");
  r.require(!r.has("quantization_config"), "quantization_config", "absent: save the model without quantization");
  if (kind == "gpt2")
    read_gpt2(r, c);
  else
    read_llama(r, c);
  c.model.init_std = r.real_or("initializer_range", 0.02);
  return c;
}

Json to_hf_config(const model::ModelShape& s, HfKind kind, std::int64_t end_token) {
  Json j = Json::object();
  if (kind == HfKind::kGpt2) {
    j["activation_function"] = "gelu_new";
    j["architectures"] = {"GPT2LMHeadModel"};
    for (const char* key : {"attn_pdrop", "embd_pdrop", "resid_pdrop"}) j[key] = s.dropout;
    j["initializer_range"] = s.init_std;
    j["layer_norm_epsilon"] = s.norm_eps;
    j["model_type"] = "gpt2";
    j["n_embd"] = s.width;
    j["n_head"] = s.heads;
    j["n_inner"] = s.ffn;
    j["n_layer"] = s.layers;
    j["n_positions"] = s.context;
  } else {
    j["architectures"] = {"LlamaForCausalLM"};
    j["attention_bias"] = s.bias;
    j["attention_dropout"] = s.dropout;
    j["head_dim"] = s.head_size();
    j["hidden_act"] = "silu";
    j["hidden_size"] = s.width;
    j["initializer_range"] = s.init_std;
    j["intermediate_size"] = s.ffn;
    j["max_position_embeddings"] = s.context;
    j["mlp_bias"] = s.bias;
    j["model_type"] = "llama";
    j["num_attention_heads"] = s.heads;
    j["num_hidden_layers"] = s.layers;
    j["num_key_value_heads"] = s.kv_heads;
    j["rms_norm_eps"] = s.norm_eps;
    j["rope_theta"] = s.rope_theta;
  }
  if (end_token >= 0) {
    j["bos_token_id"] = end_token;
    j["eos_token_id"] = end_token;
  } else {
    // Their defaults are tokens of one particular vocabulary.
    j["bos_token_id"] = nullptr;
    j["eos_token_id"] = nullptr;
  }
  j["tie_word_embeddings"] = s.tied;
  j["torch_dtype"] = "float32";
  j["vocab_size"] = s.vocab;
  return j;
}

}  // namespace banyan::app
