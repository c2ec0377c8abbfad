#include "src/model/tensor_parallel.hpp"

#include "src/base/error.hpp"

namespace banyan::model {

TensorParallel::TensorParallel(const StageSpec& spec, comm::Communicator* group, Queue queue)
    : group_(spec.tensor_size > 1 ? group : nullptr),
      queue_(queue),
      rank_(spec.tensor_rank),
      size_(spec.tensor_size),
      sequence_(spec.sequence && spec.tensor_size > 1) {
  if (size_ > 1 && (!group_ || group_->size() != size_ || group_->rank() != rank_))
    throw BugError("tensor rank {} of {} was given a communicator that does not fit", rank_, size_);
}

ConstView TensorParallel::gather(ConstView stream, View room, std::string_view what) {
  if (!sequence_) return stream;
  group_->all_gather(queue_, room, stream, shares(room), what).wait();
  return room;
}

Event TensorParallel::start_reduce(View partial, std::string_view what) {
  if (!group_) return {};
  if (!sequence_) return group_->all_reduce(queue_, partial, comm::ReduceOp::kSum, what);
  return group_->reduce_scatter(queue_, reduced(partial), partial, shares(partial), comm::ReduceOp::kSum, what);
}

View TensorParallel::reduced(View partial) const {
  if (!sequence_) return partial;
  const std::int64_t share = partial.shape[0] / size_;
  return partial.rows(rank_ * share, (rank_ + 1) * share);
}

View TensorParallel::reduce(View partial, std::string_view what) {
  start_reduce(partial, what).wait();
  return reduced(partial);
}

void TensorParallel::sum(View inout, std::string_view what) {
  if (group_) group_->all_reduce(queue_, inout, comm::ReduceOp::kSum, what).wait();
}

void TensorParallel::max(View inout, std::string_view what) {
  if (group_) group_->all_reduce(queue_, inout, comm::ReduceOp::kMax, what).wait();
}

void TensorParallel::gather_parts(View out, ConstView mine, std::span<const std::int64_t> counts,
                                  std::string_view what) {
  if (!group_) throw BugError("a rank without a tensor group was asked to gather from it");
  group_->all_gather(queue_, out, mine, counts, what).wait();
}

void TensorParallel::progress() {
  if (group_) group_->progress();
}

std::vector<std::int64_t> TensorParallel::shares(const ConstView& rows) const {
  return std::vector<std::int64_t>(static_cast<std::size_t>(size_), rows.count() / size_);
}

}  // namespace banyan::model
