// Backward parts: the blocks of a stage, from the top down, gathered until their gradients fill a bucket, so that one
// bucket travels while the next part is computed.  Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace banyan::parallel {

/// Number of blocks of each part, from the top; at least one each, the sum is block_bytes.size().  A part is closed as
/// soon as it holds `bucket` bytes.  block_bytes[0] is the lowest block; top_bytes (norm and head) belong to the first
/// part; embeddings go with the last, since their gradients are complete only when everything else is.
std::vector<std::int64_t> part_blocks(std::span<const std::int64_t> block_bytes, std::int64_t top_bytes,
                                      std::int64_t bucket);

}  // namespace banyan::parallel
