#include "src/parallel/buckets.hpp"

namespace banyan::parallel {

std::vector<std::int64_t> part_blocks(std::span<const std::int64_t> block_bytes, std::int64_t top_bytes,
                                      std::int64_t bucket) {
  std::vector<std::int64_t> parts;
  std::int64_t blocks = 0, bytes = top_bytes;
  for (std::size_t i = block_bytes.size(); i-- > 0;) {
    ++blocks;
    bytes += block_bytes[i];
    if (bytes >= bucket || i == 0) {
      parts.push_back(blocks);
      blocks = 0;
      bytes = 0;
    }
  }
  return parts;
}

}  // namespace banyan::parallel
