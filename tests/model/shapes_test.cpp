#include "src/model/shapes.hpp"

#include <gtest/gtest.h>

namespace banyan::model {
namespace {

ModelShape gpt2_124m() {
  ModelShape m;
  m.layers = 12;
  m.width = 768;
  m.heads = m.kv_heads = 12;
  m.ffn = 3072;
  m.context = 1024;
  m.vocab = 50257;
  return m;
}

TEST(Shapes, CountsTheParametersOfPublishedModels) {
  EXPECT_EQ(parameter_count(gpt2_124m()), 124439808);

  ModelShape llama;  // Llama 2 7B
  llama.layers = 32;
  llama.width = 4096;
  llama.heads = llama.kv_heads = 32;
  llama.ffn = 11008;
  llama.context = 4096;
  llama.vocab = 32000;
  llama.norm = Norm::kRms;
  llama.position = Position::kRotary;
  llama.mlp = Mlp::kSwiglu;
  llama.bias = llama.tied = false;
  EXPECT_EQ(parameter_count(llama), 6738415616);

  llama.kv_heads = 8;  // Llama 3 8B
  llama.ffn = 14336;
  llama.vocab = 128256;
  EXPECT_EQ(parameter_count(llama), 8030261248);
}

TEST(Shapes, CountsFlopsOfMatrixProductsAndAttention) {
  const ModelShape m = gpt2_124m();
  // Narayanan et al., without recomputation: 72 s l h^2 (1 + s / 6h + V / 12 l h) per sequence of s tokens.
  const double s = 1024, l = 12, h = 768, V = 50257;
  EXPECT_NEAR(flops_per_token(m), 72 * l * h * h * (1 + s / (6 * h) + V / (12 * l * h)), 1);
}

}  // namespace
}  // namespace banyan::model
