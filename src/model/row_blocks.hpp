// The blocks of rows in which a product is computed whose sum travels over the tensor group, or whose operand does:
// while one block is computed, those before it (or behind it) are under way (Wang et al., "Overlap Communication with
// Dependent Computation via Decomposition in Large Deep Learning Models", ASPLOS'23, section 4).  Pure.
//
//   6 rows, 3 blocks, 2 ranks     without sequence parallelism    0-1 | 2-3 | 4-5      each summed for everybody
//                                 with it                         0 | 3 | 1-2 | 4-5    each for, or from, the rank that
//                                                                                      holds these rows of the stream
#pragma once

#include <cstdint>
#include <vector>

#include "src/model/params.hpp"

namespace banyan::model {

struct RowBlock {
  Range rows;
  int owner = -1;  ///< tensor rank whose rows of the stream these are; -1: everybody's
  bool operator==(const RowBlock&) const = default;
};

/// In the order in which they are computed; together all of `rows` once.  Of no rows there is at most one, others are
/// not empty, so that there are no more than rows.  With sequence parallelism (`sequence`, rows a multiple of `ranks`)
/// and several blocks every rank's share is divided alike, into blocks / ranks parts, rounded up, and the first parts
/// of all ranks come before the second ones: links are busy in both directions.  One block is whole and everybody's.
std::vector<RowBlock> row_blocks(std::int64_t rows, int blocks, int ranks, bool sequence);

}  // namespace banyan::model
