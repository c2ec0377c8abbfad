// Communication inside the tensor group: all of it is in this file pair.  A pair of matrices is split so that one
// exchange suffices (Shoeybi et al., "Megatron-LM", section 3): the first by output channels (column-parallel), the
// second by input channels (row-parallel), whose product is then a partial sum.
//
//   without sequence parallelism          with it (Korthikanti et al., MLSys'23, section 4.2)
//   stream [R,C] on every rank            stream [R/t,C]: rank i holds rows [i R/t, (i+1) R/t)
//   gather  = nothing                     gather  = all-gather of rows
//   reduce  = all-reduce                  reduce  = reduce-scatter of rows
//
// The backward pass of gather is reduce, and the other way round.  With one rank all of it does nothing.
//
// A product may be computed in blocks of rows (row_blocks.hpp), so that messages of some travel while others are
// computed.  The blocks, and with them every bit, are a function of the spec and the number of rows.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "comm/communicator.hpp"
#include "src/model/row_blocks.hpp"
#include "src/model/stage_spec.hpp"

namespace banyan::model {

class TensorParallel {
 public:
  /// `group` may be null when spec.tensor_size is 1.
  TensorParallel(const StageSpec& spec, comm::Communicator* group, Queue queue);

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// The rank that adds the bias of row-parallel layers into its partial sum, so that the sum holds it once.
  bool adds_bias() const { return rank_ == 0; }

  /// All rows [R,C] of what is spread over the group: `stream` itself, or gathered into `room`.
  ConstView gather(ConstView stream, View room, std::string_view what);
  /// The same, and use(rows, matrix [count,C]) for each block of them as it is here, this rank's own first.
  ConstView gather(ConstView stream, View room, std::string_view what,
                   const std::function<void(Range, ConstView)>& use);

  /// Starts summing partial [R,C] over the group, in place; when the event is complete reduced(partial) is the sum.
  Event start_reduce(View partial, std::string_view what);
  /// The rows of the sum that this rank holds: all, or its part of the stream.
  View reduced(View partial) const;
  /// start_reduce, wait, reduced.
  View reduce(View partial, std::string_view what);
  /// Has partial made block by block, make(rows) each, and starts the sum of each as soon as it is there.
  std::vector<Event> start_reduce(View partial, std::string_view what, const std::function<void(Range)>& make);
  View reduce(View partial, std::string_view what, const std::function<void(Range)>& make);

  /// Sum or maximum of small arrays over the group, in place (vocabulary-parallel loss).
  void sum(View inout, std::string_view what);
  void max(View inout, std::string_view what);
  /// Parts of different size from every rank, end to end in `out`.
  void gather_parts(View out, ConstView mine, std::span<const std::int64_t> counts, std::string_view what);

  /// Lets messages in flight of the group advance; never blocks.
  void progress();

 private:
  std::vector<std::int64_t> shares(const ConstView& rows) const;
  /// Elements of each rank of a block that one rank's rows are.
  std::vector<std::int64_t> of_owner(const RowBlock& block, std::int64_t elements) const;
  std::vector<RowBlock> blocks(std::int64_t rows) const { return row_blocks(rows, blocks_, size_, sequence_); }

  comm::Communicator* group_;
  Queue queue_;
  int rank_, size_;
  bool sequence_;
  int blocks_;
};

}  // namespace banyan::model
