#include "src/model/tensor_parallel.hpp"

#include "src/base/error.hpp"

namespace banyan::model {

TensorParallel::TensorParallel(const StageSpec& spec, comm::Communicator* group, Queue queue)
    : group_(spec.tensor_size > 1 ? group : nullptr),
      queue_(queue),
      rank_(spec.tensor_rank),
      size_(spec.tensor_size),
      sequence_(spec.sequence && spec.tensor_size > 1),
      blocks_(spec.tensor_size > 1 ? spec.row_blocks : 1) {
  if (size_ > 1 && (!group_ || group_->size() != size_ || group_->rank() != rank_))
    throw BugError("tensor rank {} of {} was given a communicator that does not fit", rank_, size_);
}

ConstView TensorParallel::gather(ConstView stream, View room, std::string_view what) {
  if (!sequence_) return stream;
  group_->all_gather(queue_, room, stream, shares(room), what).wait();
  return room;
}

ConstView TensorParallel::gather(ConstView stream, View room, std::string_view what,
                                 const std::function<void(Range, ConstView)>& use) {
  const std::vector<RowBlock> all = blocks(sequence_ ? room.shape[0] : stream.shape[0]);
  if (!sequence_ || all.size() == 1) {
    const ConstView here = gather(stream, room, what);
    // Nothing is on its way, so that there is nothing to be gained by blocks.
    use({0, here.shape[0]}, here);
    return here;
  }
  std::vector<Event> arriving;
  const std::int64_t first = rank_ * stream.shape[0];
  const auto mine = [&](Range r) { return stream.rows(r.begin - first, r.end - first); };
  for (const RowBlock& b : all) {
    const View place = room.rows(b.rows.begin, b.rows.end);
    arriving.push_back(group_->all_gather(queue_, place, b.owner == rank_ ? mine(b.rows) : stream.rows(0, 0),
                                          of_owner(b, place.count()), what));
  }
  for (const RowBlock& b : all)
    if (b.owner == rank_) use(b.rows, mine(b.rows));
  // Others' in the order in which they were started, those behind this rank's own first.
  for (const bool behind : {true, false})
    for (std::size_t i = 0; i < all.size(); ++i)
      if (all[i].owner != rank_ && (all[i].owner > rank_) == behind) {
        arriving[i].wait();
        use(all[i].rows, room.rows(all[i].rows.begin, all[i].rows.end));
      }
  for (Event& e : arriving) e.wait();
  return room;
}

std::vector<Event> TensorParallel::start_reduce(View partial, std::string_view what,
                                                const std::function<void(Range)>& make) {
  std::vector<Event> started;
  for (const RowBlock& b : blocks(partial.shape[0])) {
    make(b.rows);
    const View rows = partial.rows(b.rows.begin, b.rows.end);
    if (b.owner < 0)
      started.push_back(start_reduce(rows, what));
    else
      started.push_back(group_->reduce_scatter(queue_, b.owner == rank_ ? rows : rows.rows(0, 0), rows,
                                               of_owner(b, rows.count()), comm::ReduceOp::kSum, what));
  }
  return started;
}

View TensorParallel::reduce(View partial, std::string_view what, const std::function<void(Range)>& make) {
  for (Event& e : start_reduce(partial, what, make)) e.wait();
  return reduced(partial);
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

std::vector<std::int64_t> TensorParallel::of_owner(const RowBlock& block, std::int64_t elements) const {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(size_), 0);
  counts.at(static_cast<std::size_t>(block.owner)) = elements;
  return counts;
}

}  // namespace banyan::model
