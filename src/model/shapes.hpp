// The shape of a model: plain numbers, already resolved (no "0 means ...").  Pure data.
#pragma once

#include <cstdint>

namespace banyan::model {

enum class Norm : std::uint8_t { kLayer, kRms };
enum class Position : std::uint8_t { kLearned, kRotary };
enum class Mlp : std::uint8_t { kGelu, kSwiglu };

struct ModelShape {
  std::int64_t layers = 0, width = 0, heads = 0, kv_heads = 0, ffn = 0, context = 0, vocab = 0;
  Norm norm = Norm::kLayer;
  Position position = Position::kLearned;
  Mlp mlp = Mlp::kGelu;
  bool bias = true, tied = true;
  double dropout = 0, rope_theta = 10000, norm_eps = 1e-5, init_std = 0.02;

  std::int64_t head_size() const { return width / heads; }
  bool operator==(const ModelShape&) const = default;
};

/// Number of parameters; tied ones once.
std::int64_t parameter_count(const ModelShape& shape);
/// Weights of the matrices of one block.
double block_weights(const ModelShape& shape);
/// Model FLOP of one token, forward and backward (6 per weight of every matrix product, plus attention over a full
/// context); never counts recomputation.  Source: Narayanan et al., SC'21, appendix "Floating-point operations".
double flops_per_token(const ModelShape& shape);

}  // namespace banyan::model
