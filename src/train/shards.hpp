// Which rows of each local tensor a data rank owns (ZeRO-1), and the shard-major order in which the rows of a bucket
// travel: all rows of data rank 0, parameter after parameter, then those of data rank 1, ...  Pure but for the copies.
//
//   a bucket of two tensors, A with 4 rows, B with 2, over 2 data ranks
//     arena        A0 A1 A2 A3 | B0 B1
//     shard-major  A0 A1 B0 | A2 A3 B1
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/backend.hpp"
#include "src/model/local_params.hpp"

namespace banyan::train {

/// Rows [i R / D, (i+1) R / D) of axis 0 of a local tensor with R rows (a 1-D tensor has rows of one element).
model::Range owned_rows(std::int64_t rows, int rank, int ranks);

/// The parameters whose gradients are complete after one part of the backward pass, and their place in the arenas.
struct Bucket {
  int part = 0;
  std::vector<int> params;           ///< indices into Stage::params(), in arena order
  std::int64_t begin = 0, end = 0;   ///< range of the arenas
  std::vector<std::int64_t> counts;  ///< elements that each data rank owns
  std::int64_t elements() const;     ///< sum of counts: without the gaps of the arena
};

/// One bucket per part, in order of the parts.
std::vector<Bucket> make_buckets(const std::vector<model::LocalParam>& params, int parts, int data_ranks);

enum class Arena : std::uint8_t { kParams, kGrads };

/// Shard-major copy of the rows of data rank `rank` of a bucket; `out` has counts[rank] elements.
void pack_shard(kernels::Backend& backend, Queue q, const std::vector<model::LocalParam>& params, const Bucket& bucket,
                Arena arena, int rank, int ranks, View out);
/// The inverse.
void unpack_shard(kernels::Backend& backend, Queue q, const std::vector<model::LocalParam>& params,
                  const Bucket& bucket, Arena arena, int rank, int ranks, ConstView in);

}  // namespace banyan::train
