#include "src/model/shapes.hpp"

#include "src/model/params.hpp"

namespace banyan::model {

std::int64_t parameter_count(const ModelShape& shape) {
  std::int64_t count = 0;
  for (const LogicalParam& p : logical_params(shape)) count += p.shape.count();
  return count;
}

double block_weights(const ModelShape& s) {
  const double query = static_cast<double>(s.heads * s.head_size());
  const double key_value = static_cast<double>(s.kv_heads * s.head_size());
  const double mlp_matrices = s.mlp == Mlp::kSwiglu ? 3 : 2;
  return static_cast<double>(s.width) * (2 * query + 2 * key_value + mlp_matrices * static_cast<double>(s.ffn));
}

double flops_per_token(const ModelShape& s) {
  const double layers = static_cast<double>(s.layers), query = static_cast<double>(s.heads * s.head_size());
  const double head_weights = static_cast<double>(s.width) * static_cast<double>(s.vocab);
  // Scores and weighted sum: two products of context x head_size per head and token, forward once and backward twice.
  const double attention = 12 * layers * query * static_cast<double>(s.context);
  return 6 * (layers * block_weights(s) + head_weights) + attention;
}

}  // namespace banyan::model
