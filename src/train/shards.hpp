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

using model::owned_rows;

/// The parameters whose gradients are complete after one part of the backward pass, and their place in the arenas.
struct Bucket {
  int part = 0;
  std::vector<int> params;           ///< indices into Stage::params(), in arena order
  std::int64_t begin = 0, end = 0;   ///< range of the arenas
  std::vector<std::int64_t> counts;  ///< elements that each data rank owns
  std::int64_t elements() const;     ///< sum of counts: without the gaps of the arena
  /// Bytes that each data rank has for the others after an update: a multiple of four, at most four for an element.
  std::vector<std::int64_t> update_bytes;
  std::int64_t all_update_bytes() const;  ///< their sum
};

/// One bucket per part, in order of the parts.
std::vector<Bucket> make_buckets(const std::vector<model::LocalParam>& params, int parts, int data_ranks);

/// Flat copies between gradients and what travels of them: f32 both, or rounded to bf16 and back.
void copy_rounded(kernels::Backend& backend, Queue q, View out, ConstView in);
void copy_widened(kernels::Backend& backend, Queue q, View out, ConstView in);

/// Shard-major copy of the gradients of the rows of data rank `rank` of a bucket; `out` has counts[rank] elements, f32
/// or bf16, which rounds them.
void pack_grads(kernels::Backend& backend, Queue q, const std::vector<model::LocalParam>& params, const Bucket& bucket,
                int rank, int ranks, View out);
/// The inverse.
void unpack_grads(kernels::Backend& backend, Queue q, const std::vector<model::LocalParam>& params,
                  const Bucket& bucket, int rank, int ranks, ConstView in);

/// The updated rows of data rank `rank` as the others need them, update_bytes[rank] bytes: values first, then rounded
/// rows of what is spread.
void pack_update(kernels::Backend& backend, Queue q, const std::vector<model::LocalParam>& params, const Bucket& bucket,
                 int rank, int ranks, View out);
/// The inverse.
void unpack_update(kernels::Backend& backend, Queue q, const std::vector<model::LocalParam>& params,
                   const Bucket& bucket, int rank, int ranks, ConstView in);

}  // namespace banyan::train
