#include "src/model/kv_cache.hpp"

#include <algorithm>

#include "src/base/error.hpp"

namespace banyan::model {

void append(const Compute& c, const Rows& rows, const KvCache& cache, ConstView key, ConstView value) {
  const kernels::KvBlocks& blocks = rows.cache;
  const std::size_t sequences = rows.query_position.size();
  for (std::size_t s = 0; s < sequences; ++s) {
    std::int64_t row = rows.query_offsets[s];
    std::int64_t position = rows.query_position[s];
    while (row < rows.query_offsets[s + 1]) {
      const std::int64_t inside = position % blocks.block_size;
      const std::int64_t number = position / blocks.block_size;
      if (number >= blocks.blocks_per_sequence)
        throw BugError("position {} lies behind the {} cache blocks of its sequence", position,
                       blocks.blocks_per_sequence);
      const std::int64_t block =
          blocks.table[s * static_cast<std::size_t>(blocks.blocks_per_sequence) + static_cast<std::size_t>(number)];
      const std::int64_t at = block * blocks.block_size + inside;
      const std::int64_t run = std::min<std::int64_t>(blocks.block_size - inside, rows.query_offsets[s + 1] - row);
      if (block < 0 || at + run > cache.key.shape[0]) throw BugError("cache block {} does not exist", block);
      c.backend.copy(c.queue, cache.key.rows(at, at + run), key.rows(row, row + run));
      c.backend.copy(c.queue, cache.value.rows(at, at + run), value.rows(row, row + run));
      row += run;
      position += run;
    }
  }
}

}  // namespace banyan::model
