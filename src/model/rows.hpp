// Which tokens the rows of a computation are: their sequences, positions, samples, and with them every dropout mask.
// Rows of a microbatch are whole sequences laid end to end; in generation they are the new rows of several sequences.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/backend.hpp"
#include "src/base/rng.hpp"
#include "src/model/stage_spec.hpp"

namespace banyan::model {

struct Rows {
  std::int64_t count = 0;                           ///< R
  std::int64_t stream_begin = 0, stream_count = 0;  ///< rows of the residual stream held here
  ConstView position;                               ///< R, i32, on the device
  std::span<const std::int32_t> query_offsets;      ///< S+1
  std::span<const std::int32_t> key_offsets;        ///< S+1
  std::span<const std::int32_t> query_position;     ///< S
  kernels::KvBlocks cache;                          ///< generation: where keys and values lie

  float dropout = 0;  ///< 0 outside of training; then nothing below is read
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  std::span<const std::int64_t> sample;         ///< R, host
  std::span<const std::int32_t> host_position;  ///< R, host

  /// Positions of the rows of the stream that are held here.
  ConstView stream_position() const { return position.rows(stream_begin, stream_begin + stream_count); }
  /// Mask of a place in the residual stream, for the rows of it that are held here.
  kernels::Dropout stream_dropout(rng::Purpose purpose, std::int64_t block) const;
  /// Mask of the probabilities of heads first_head, first_head+1, ... (global numbers).
  kernels::Dropout attention_dropout(std::int64_t block, std::int64_t first_head) const;
};

}  // namespace banyan::model
