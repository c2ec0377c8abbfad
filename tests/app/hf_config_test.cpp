#include "src/app/hf_config.hpp"

#include <gtest/gtest.h>

#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "src/plan/layout.hpp"

namespace banyan {
namespace {

using app::HfKind;

const char* const kGpt2 =
    R"({"model_type":"gpt2","n_embd":8,"n_head":2,"n_layer":3,"n_positions":16,"vocab_size":11,"n_ctx":16,
        "activation_function":"gelu_new","layer_norm_epsilon":1e-5,"n_inner":null,"resid_pdrop":0.1,"attn_pdrop":0.1,
        "embd_pdrop":0.1,"torch_dtype":"float16"})";
const char* const kLlama =
    R"({"model_type":"llama","hidden_size":8,"num_attention_heads":4,"num_key_value_heads":2,"num_hidden_layers":3,
        "intermediate_size":24,"max_position_embeddings":16,"vocab_size":11,"rms_norm_eps":1e-6,"rope_theta":500000.0,
        "hidden_act":"silu","rope_scaling":null})";

model::ModelShape shape_of(const Json& json) {
  return plan::make_model_shape(app::from_hf_config(json, "config.json"), 0);
}

TEST(HfConfig, BothKindsAreRead) {
  const model::ModelShape g = shape_of(Json::parse(kGpt2));
  EXPECT_EQ(g.ffn, 32);
  EXPECT_TRUE(g.tied && g.bias);
  EXPECT_EQ(g.dropout, 0.1);
  EXPECT_EQ(app::hf_kind(g), HfKind::kGpt2);
  const model::ModelShape l = shape_of(Json::parse(kLlama));
  EXPECT_EQ(l.kv_heads, 2);
  EXPECT_EQ(l.rope_theta, 500000);
  EXPECT_EQ(l.norm_eps, 1e-6);
  EXPECT_FALSE(l.tied || l.bias);
  EXPECT_EQ(app::hf_kind(l), HfKind::kLlama);
}

TEST(HfConfig, WhatIsWrittenReadsBackTheSame) {
  for (const char* text : {kGpt2, kLlama}) {
    Json json = Json::parse(text);
    json["initializer_range"] = 0.03;
    const model::ModelShape shape = shape_of(json);
    EXPECT_EQ(shape_of(app::to_hf_config(shape, app::hf_kind(shape), 10)), shape);
  }
}

TEST(HfConfig, NewerFilesKeepTheBaseInRopeParameters) {
  Json json = Json::parse(kLlama);
  json.erase("rope_theta");
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 7.0}};
  EXPECT_EQ(shape_of(json).rope_theta, 7);
}

TEST(HfConfig, VariantsThatAreComputedInAnotherWayAreRefused) {
  const auto refuses = [](const char* base, const char* key, const Json& value) {
    Json json = Json::parse(base);
    json[key] = value;
    try {
      app::from_hf_config(json, "config.json");
      ADD_FAILURE() << key << " = " << value.dump() << " was accepted";
    } catch (const ConfigError& e) {
      EXPECT_NE(std::string(e.what()).find(key), std::string::npos) << e.what();
    }
  };
  refuses(kGpt2, "model_type", "gpt_neo");
  refuses(kGpt2, "activation_function", "gelu");
  refuses(kGpt2, "scale_attn_weights", false);
  refuses(kGpt2, "scale_attn_by_inverse_layer_idx", true);
  refuses(kGpt2, "add_cross_attention", true);
  refuses(kGpt2, "quantization_config", {{"bits", 4}});
  refuses(kLlama, "rope_scaling", {{"type", "linear"}, {"factor", 2.0}});
  refuses(kLlama, "rope_scaling", {{"rope_type", "llama3"}});
  refuses(kLlama, "hidden_act", "gelu");
  refuses(kLlama, "head_dim", 4);
  refuses(kLlama, "mlp_bias", true);
}

TEST(HfConfig, DamagedFilesAreRefused) {
  for (const char* key : {"model_type", "n_embd", "n_head", "n_layer", "n_positions", "vocab_size"}) {
    Json json = Json::parse(kGpt2);
    json.erase(key);
    EXPECT_THROW(app::from_hf_config(json, "config.json"), DataError) << key;
    json[key] = Json::array();
    EXPECT_THROW(app::from_hf_config(json, "config.json"), DataError) << key;
  }
  Json json = Json::parse(kLlama);
  json["num_attention_heads"] = 0;
  EXPECT_THROW(app::from_hf_config(json, "config.json"), ConfigError);
  EXPECT_THROW(app::from_hf_config(Json::array(), "config.json"), DataError);
}

}  // namespace
}  // namespace banyan
