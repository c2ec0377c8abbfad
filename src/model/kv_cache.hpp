// Keys and values of earlier tokens, in generation.  Memory is blocks of rows; a table says which block holds which
// rows of a sequence, so sequences grow without moving.  (Kwon et al., "PagedAttention", SOSP'23.)
#pragma once

#include "src/model/compute.hpp"
#include "src/model/rows.hpp"

namespace banyan::model {

/// Of one transformer block: [blocks * block_size, G*D] each.
struct KvCache {
  View key, value;
};

/// Copies the new rows' keys and values [R, G*D] (strided) to their places.
void append(const Compute& c, const Rows& rows, const KvCache& cache, ConstView key, ConstView value);

}  // namespace banyan::model
