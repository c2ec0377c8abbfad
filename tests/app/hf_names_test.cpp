#include "src/app/hf_names.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "src/app/hf_config.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "src/model/params.hpp"
#include "src/plan/layout.hpp"

namespace banyan {
namespace {

using app::HfKind;
using app::HfTensor;

model::ModelShape gpt2_shape() {
  model::ModelShape s;
  s.layers = 2;
  s.width = 8;
  s.heads = s.kv_heads = 2;
  s.ffn = 20;
  s.context = 16;
  s.vocab = 11;
  return s;
}

model::ModelShape llama_shape() {
  model::ModelShape s = gpt2_shape();
  s.heads = 4;
  s.norm = model::Norm::kRms;
  s.position = model::Position::kRotary;
  s.mlp = model::Mlp::kSwiglu;
  s.bias = s.tied = false;
  return s;
}

const HfTensor& named(const std::vector<HfTensor>& all, const std::string& name) {
  for (const HfTensor& t : all)
    if (t.name == name) return t;
  throw DataError("no tensor {}", name);
}

TEST(HfNames, EveryParameterIsCoveredOnceAndEveryElementOfTheirsIsFilled) {
  std::vector<model::ModelShape> shapes{gpt2_shape(), llama_shape()};
  shapes.push_back(gpt2_shape());
  shapes.back().tied = false;
  shapes.push_back(llama_shape());
  shapes.back().tied = shapes.back().bias = true;
  for (const model::ModelShape& shape : shapes) {
    std::map<std::string, Shape> left;
    for (const model::LogicalParam& p : model::logical_params(shape)) left[p.name] = p.shape;
    std::set<std::string> names;
    for (const HfTensor& t : app::hf_tensors(shape, app::hf_kind(shape), "transformer.")) {
      EXPECT_TRUE(names.insert(t.name).second) << t.name;
      std::int64_t channel = 0;
      for (const app::HfPiece& p : t.pieces) {
        ASSERT_EQ(left.count(p.logical), 1u) << p.logical;
        EXPECT_EQ(left[p.logical], p.shape);
        EXPECT_EQ(p.begin, channel);
        channel += p.shape[0];
        const std::int64_t in = p.shape.rank() == 2 ? p.shape[1] : 0;
        EXPECT_EQ(t.shape.rank(), p.shape.rank());
        if (in) {
          EXPECT_EQ(t.shape[t.transposed ? 0 : 1], in) << t.name;
        }
        left.erase(p.logical);
      }
      EXPECT_EQ(t.shape[t.transposed ? 1 : 0], channel) << t.name;
    }
    EXPECT_TRUE(left.empty()) << left.begin()->first << " is nowhere";
  }
}

TEST(HfNames, Gpt2IsFusedAndTransposed) {
  const auto all = app::hf_tensors(gpt2_shape(), HfKind::kGpt2, "");
  EXPECT_EQ(all[0].name, "wte.weight");
  EXPECT_FALSE(all[0].transposed);
  const HfTensor& fused = named(all, "h.1.attn.c_attn.weight");
  EXPECT_TRUE(fused.transposed);
  EXPECT_EQ(fused.shape, (Shape{8, 24}));
  ASSERT_EQ(fused.pieces.size(), 3u);
  EXPECT_EQ(fused.pieces[1].logical, "blocks.1.attn.k.weight");
  EXPECT_EQ(fused.pieces[2].begin, 16);
  EXPECT_EQ(named(all, "h.1.attn.c_attn.bias").shape, (Shape{24}));
  EXPECT_EQ(named(all, "h.0.mlp.c_fc.weight").shape, (Shape{8, 20}));
  EXPECT_EQ(named(all, "h.0.mlp.c_proj.weight").shape, (Shape{20, 8}));
  EXPECT_EQ(all.back().name, "ln_f.bias");
}

TEST(HfNames, LlamaIsApart) {
  const auto all = app::hf_tensors(llama_shape(), HfKind::kLlama, "transformer.");
  EXPECT_EQ(all[0].name, "model.embed_tokens.weight");
  EXPECT_EQ(named(all, "model.layers.0.self_attn.k_proj.weight").shape, (Shape{4, 8}));
  EXPECT_EQ(named(all, "model.layers.1.mlp.down_proj.weight").shape, (Shape{8, 20}));
  EXPECT_EQ(named(all, "model.layers.1.post_attention_layernorm.weight").pieces[0].logical, "blocks.1.norm2.weight");
  EXPECT_EQ(all.back().name, "lm_head.weight");
  for (const HfTensor& t : all) EXPECT_FALSE(t.transposed) << t.name;
}

TEST(HfNames, BuffersAreIgnoredAndMixturesOfBothKindsRefused) {
  EXPECT_TRUE(app::hf_ignored("transformer.h.3.attn.bias"));
  EXPECT_TRUE(app::hf_ignored("h.3.attn.masked_bias"));
  EXPECT_TRUE(app::hf_ignored("model.layers.0.self_attn.rotary_emb.inv_freq"));
  EXPECT_FALSE(app::hf_ignored("h.3.attn.c_attn.bias"));
  EXPECT_FALSE(app::hf_ignored("lm_head.weight"));
  model::ModelShape mixed = gpt2_shape();
  mixed.norm = model::Norm::kRms;
  EXPECT_THROW(app::hf_kind(mixed), ConfigError);
  mixed = llama_shape();
  mixed.mlp = model::Mlp::kGelu;
  EXPECT_THROW(app::hf_kind(mixed), ConfigError);
}

}  // namespace
}  // namespace banyan
