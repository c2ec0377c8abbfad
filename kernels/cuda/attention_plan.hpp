// What blocks of attention's kernels work on: tiles of queries and of keys, the costly ones first, because the last
// blocks of a grid run on an emptying GPU.
#pragma once

#include <optional>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/cuda/attention.hpp"

namespace banyan::kernels::cuda {

/// Every query once, in tiles of up to `rows`; the key tiles of a sequence likewise.  Sequences as kernels::Attention
/// has them; pure.
std::vector<QueryTile> query_tiles(const Attention& a, int rows);
std::vector<KeyTile> key_tiles(const Attention& a, int rows);

/// What blocks work on where no sequence has more than one query: the keys that each sees, in parts, so that a few
/// sequences are work for many blocks.  A sequence's parts do not depend on what other sequences there are.
struct SingleQueries {
  std::vector<KeyPart> parts;  ///< of one query end to end
  std::vector<RowParts> rows;  ///< every query once
};
/// Nothing where a sequence has more queries.
std::optional<SingleQueries> single_queries(const Attention& a);

}  // namespace banyan::kernels::cuda
