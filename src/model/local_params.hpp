// The part of the logical parameters that one rank holds, and where it lies in the two arenas (values, gradients).
// Pure.
//
// Arena order: backward part by part, from the head down, so that a part is one contiguous range:
//   part 0: final norm, head, top blocks ...   last part: bottom blocks, position table, token table
// Parts of later chunks come before those of earlier ones.
// Groups that one matrix product reads (q,k,v weights; q,k,v biases; gate,up) lie end to end; every group starts on a
// 64-byte boundary.  The gaps before the boundaries hold zeros in both arenas.
#pragma once

#include <cstdint>
#include <vector>

#include "src/base/view.hpp"
#include "src/model/params.hpp"
#include "src/model/stage_spec.hpp"

namespace banyan::model {

/// A parameter as this rank holds it.  `param` and `grad` lie in two arenas of equal layout, ordered by part; fused
/// matrices (q,k,v; gate,up) are neighbours in them.
struct LocalParam {
  LogicalParam logical;
  Shape offset, count;      ///< the slab of the logical tensor held here (without padding); per axis.  A late member of
                            ///< a large tensor group may hold no rows of a vocabulary table: then count[0] is 0
  View param, grad;         ///< shape = count (param: rows `master` of it), fp32, contiguous
  View rounded;             ///< bf16 copy of a matrix that blocks compute with, where activations are bf16; else empty
  Range master;             ///< rows of the slab that `param` holds: all of them, but where it is spread
  bool spread = false;      ///< `param` is spread over data ranks (StageSpec::master_ranks); `rounded` has all rows
  std::int64_t begin = 0;   ///< element offset in the arenas
  int part = 0;             ///< backward part after which grad is complete
  bool tied_copy = false;   ///< the last stage's copy of the token embedding
  bool tied = false;        ///< this stage's token embedding has a copy on another stage
  bool replicated = false;  ///< every tensor rank holds the same values
  bool partial_over_tensor = false;  ///< sequence parallelism: grad must be summed over the tensor group
};

/// Rows [i R / D, (i+1) R / D) of axis 0 of a local tensor with R rows (a 1-D tensor has rows of one element): what
/// data rank i of D updates with ZeRO-1.
Range owned_rows(std::int64_t rows, int rank, int ranks);
/// Matrices but for the position table, which is only added: these may be narrow or have a rounded copy.
bool read_by_products(const LocalParam& p);
/// Rows [first, last) of the slab, which `param` must hold.
View param_rows(const LocalParam& p, Range rows);

/// The slabs this rank holds, in arena order, without memory (param and grad empty).
std::vector<LocalParam> local_params(const StageSpec& spec);
/// Elements of each arena.
std::int64_t arena_count(const std::vector<LocalParam>& params);
/// Number of parts of the backward pass.
int part_count(const StageSpec& spec);
/// Blocks [first, last) of a part of the backward pass.
Range blocks_of_part(const StageSpec& spec, int part);

}  // namespace banyan::model
