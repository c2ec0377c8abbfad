#include "src/model/rows.hpp"

namespace banyan::model {

kernels::Dropout Rows::stream_dropout(rng::Purpose purpose, std::int64_t block) const {
  if (dropout == 0) return {};
  kernels::Dropout d;
  d.p = dropout;
  d.key = rng::stream_key(seed, purpose, block, step);
  d.sample = sample.subspan(static_cast<std::size_t>(stream_begin), static_cast<std::size_t>(stream_count));
  d.position = host_position.subspan(static_cast<std::size_t>(stream_begin), static_cast<std::size_t>(stream_count));
  return d;
}

kernels::Dropout Rows::attention_dropout(std::int64_t block, std::int64_t first_head) const {
  if (dropout == 0) return {};
  kernels::Dropout d;
  d.p = dropout;
  d.key = rng::stream_key(seed, rng::Purpose::kAttention, block, step);
  d.sample = sample;
  d.position = host_position;
  d.channel0 = first_head << 20;  // the backend numbers channels head * 2^20 + key position
  return d;
}

}  // namespace banyan::model
