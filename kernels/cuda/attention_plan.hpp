// What blocks of attention's kernels work on: tiles of queries and of keys, the costly ones first, because the last
// blocks of a grid run on an emptying GPU.
#pragma once

#include <vector>

#include "kernels/backend.hpp"
#include "kernels/cuda/attention.hpp"

namespace banyan::kernels::cuda {

/// Every query once, in tiles of up to `rows`; the key tiles of a sequence likewise.  Sequences as kernels::Attention
/// has them; pure.
std::vector<QueryTile> query_tiles(const Attention& a, int rows);
std::vector<KeyTile> key_tiles(const Attention& a, int rows);

}  // namespace banyan::kernels::cuda
