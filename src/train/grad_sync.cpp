#include "src/train/grad_sync.hpp"

#include <algorithm>

namespace banyan::train {
namespace {

/// Bytes of a bucket's place in a staging buffer: its gradients, and the updated rows that come back through it.
std::size_t place_bytes(const Bucket& b, bool zero, DType travels) {
  const auto gradients = static_cast<std::size_t>(zero ? b.elements() : b.end - b.begin) * size_of(travels);
  return zero ? std::max(gradients, static_cast<std::size_t>(b.all_update_bytes())) : gradients;
}

View rows_of(View v, model::Range rows) {
  View r = v.rows(rows.begin, rows.end);
  return r.reshaped({r.count()});
}

}  // namespace

GradSync::GradSync(job::Team& team, bool zero, DType travels, Queue queue)
    : team_(team),
      zero_(zero && team.mesh.shape().data > 1),
      travels_(travels),
      queue_(queue),
      data_rank_(team.at.data),
      data_ranks_(team.mesh.shape().data),
      buckets_(make_buckets(team.stage->params(), model::part_count(team.stage->spec()), data_ranks_)) {
  staging_bytes_ = staging_bytes(buckets_, zero_, travels_, data_ranks_);
  if (staging_bytes_ > 0) staging_ = static_cast<std::byte*>(team_.backend->allocate(staging_bytes_));
  if (data_ranks_ > 1)
    pinned_ = team_.data->pin(
        staging_ ? View(staging_, DType::kU8, {static_cast<std::int64_t>(staging_bytes_)}, team_.backend->memory_kind())
                 : team_.stage->grad_arena());
  for (const Bucket& b : buckets_) {
    std::int64_t n = 0;
    for (int i : b.params) {
      const model::LocalParam& p = team_.stage->params()[static_cast<std::size_t>(i)];
      if (p.partial_over_tensor) n += p.count.count();
    }
    partial_elements_ = std::max(partial_elements_, n);
  }
  if (team_.tensor && partial_elements_ > 0)
    partial_ = static_cast<std::byte*>(team_.backend->allocate(partial_bytes()));
}

GradSync::~GradSync() {
  pinned_.reset();
  if (staging_) team_.backend->release(staging_, staging_bytes_);
  if (partial_) team_.backend->release(partial_, partial_bytes());
}

std::size_t GradSync::staging_bytes(const std::vector<Bucket>& buckets, bool zero, DType travels, int data_ranks) {
  if (data_ranks == 1 || (!zero && travels == DType::kF32)) return 0;
  std::size_t largest = 0;
  for (const Bucket& b : buckets) largest = std::max(largest, place_bytes(b, zero, travels));
  return 2 * ((largest + 63) / 64 * 64);
}

View GradSync::staging(int which, std::int64_t elements) const {
  return View(buffer(which), travels_, {elements}, team_.backend->memory_kind());
}

void GradSync::start(int part) {
  const Bucket& bucket = buckets_.at(static_cast<std::size_t>(part));
  if (bucket.params.empty()) return;
  sum_partial(bucket);
  if (data_ranks_ == 1) return;
  if (!staged()) {
    reductions_.push_back(team_.data->all_reduce(queue_, team_.stage->grad_arena().rows(bucket.begin, bucket.end),
                                                 comm::ReduceOp::kSum, "adding gradients over the data ranks"));
    return;
  }
  const int which = next_flight_;
  next_flight_ = 1 - next_flight_;
  land(flights_[which], which);
  if (!zero_) {
    const View all = staging(which, bucket.end - bucket.begin);
    copy_rounded(*team_.backend, queue_, all, team_.stage->grad_arena().rows(bucket.begin, bucket.end));
    flights_[which] = {
        part, team_.data->all_reduce(queue_, all, comm::ReduceOp::kSum, "adding gradients over the data ranks")};
    return;
  }
  const View all = staging(which, bucket.elements());
  std::int64_t at = 0, mine = 0;
  for (int r = 0; r < data_ranks_; ++r) {
    if (r == data_rank_) mine = at;
    const std::int64_t n = bucket.counts[static_cast<std::size_t>(r)];
    pack_grads(*team_.backend, queue_, team_.stage->params(), bucket, r, data_ranks_, all.rows(at, at + n));
    at += n;
  }
  const View own = all.rows(mine, mine + bucket.counts[static_cast<std::size_t>(data_rank_)]);
  flights_[which] = {part, team_.data->reduce_scatter(queue_, own, all, bucket.counts, comm::ReduceOp::kSum,
                                                      "adding gradients over the data ranks")};
}

/// Waits for the reduction in a staging buffer and puts what this rank keeps of it back into the arena.
void GradSync::land(Flight& flight, int which) {
  if (flight.part < 0) return;
  flight.done.wait();
  const Bucket& bucket = buckets_[static_cast<std::size_t>(flight.part)];
  flight.part = -1;
  if (!zero_)
    return copy_widened(*team_.backend, queue_, team_.stage->grad_arena().rows(bucket.begin, bucket.end),
                        staging(which, bucket.end - bucket.begin));
  std::int64_t at = 0;
  for (int r = 0; r < data_rank_; ++r) at += bucket.counts[static_cast<std::size_t>(r)];
  const View all = staging(which, bucket.elements());
  unpack_grads(*team_.backend, queue_, team_.stage->params(), bucket, data_rank_, data_ranks_,
               all.rows(at, at + bucket.counts[static_cast<std::size_t>(data_rank_)]));
}

void GradSync::finish() {
  for (int i = 0; i < 2; ++i) {
    const int which = (next_flight_ + i) % 2;
    land(flights_[which], which);
  }
  for (Event& e : reductions_) e.wait();
  reductions_.clear();
  sum_tied();
}

/// Norm weights and biases behind a sequence-parallel region saw only this rank's rows.
void GradSync::sum_partial(const Bucket& bucket) {
  if (!partial_) return;
  std::int64_t n = 0;
  const View all(partial_, DType::kF32, {partial_elements_}, team_.backend->memory_kind());
  for (int pass = 0; pass < 2; ++pass) {
    std::int64_t at = 0;
    for (int i : bucket.params) {
      const model::LocalParam& p = team_.stage->params()[static_cast<std::size_t>(i)];
      if (!p.partial_over_tensor) continue;
      const View grad = p.grad.reshaped({p.grad.count()}), place = all.rows(at, at + grad.count());
      if (pass == 0)
        team_.backend->copy(queue_, place, grad);
      else
        team_.backend->copy(queue_, grad, place);
      at += grad.count();
    }
    if (at == 0) return;
    n = at;
    if (pass == 0)
      team_.tensor
          ->all_reduce(queue_, all.rows(0, n), comm::ReduceOp::kSum, "adding gradients of norms over the tensor ranks")
          .wait();
  }
}

/// The token embedding of the first stage and its copy on the last: a sum of two values, so the same bits on both.
void GradSync::sum_tied() {
  if (!team_.tied) return;
  for (model::LocalParam& p : team_.stage->params()) {
    if (!p.tied && !p.tied_copy) continue;
    const View grad = rows_of(p.grad, update_rows(p));
    if (grad.count() > 0)
      team_.tied->all_reduce(queue_, grad, comm::ReduceOp::kSum, "adding gradients of the tied embedding").wait();
  }
}

std::vector<kernels::Number> GradSync::owned_square_sums() const {
  std::vector<kernels::Number> sums;
  for (const model::LocalParam& p : team_.stage->params()) {
    if (p.tied_copy || (p.replicated && team_.at.tensor != 0)) continue;
    const View grad = rows_of(p.grad, owned_rows(p.count[0], data_rank_, data_ranks_));
    if (grad.count() > 0) sums.push_back(team_.backend->sum_squares(queue_, grad));
  }
  return sums;
}

std::string GradSync::first_not_finite() const {
  for (const model::LocalParam& p : team_.stage->params()) {
    const View grad = rows_of(p.grad, owned_rows(p.count[0], data_rank_, data_ranks_));
    if (grad.count() > 0 && !team_.backend->all_finite(queue_, grad)) return p.logical.name;
  }
  return "";
}

model::Range GradSync::update_rows(const model::LocalParam& p) const {
  return zero_ ? owned_rows(p.count[0], data_rank_, data_ranks_) : model::Range{0, p.count[0]};
}

void GradSync::gather_params() {
  if (!zero_) return;
  Event flight[2];
  const auto message = [&](const Bucket& b, int which) {
    return View(buffer(which), DType::kU8, {b.all_update_bytes()}, team_.backend->memory_kind());
  };
  const auto part = [&](const Bucket& b, View all, int rank) {
    std::int64_t at = 0;
    for (int r = 0; r < rank; ++r) at += b.update_bytes[static_cast<std::size_t>(r)];
    return all.rows(at, at + b.update_bytes[static_cast<std::size_t>(rank)]);
  };
  const auto scatter = [&](const Bucket& b, int which) {
    flight[which].wait();
    for (int r = 0; r < data_ranks_; ++r)
      if (r != data_rank_)
        unpack_update(*team_.backend, queue_, team_.stage->params(), b, r, data_ranks_, part(b, message(b, which), r));
  };
  // Two buckets travel at a time, one per staging buffer.
  const int count = static_cast<int>(buckets_.size());
  for (int i = 0; i < count + 2; ++i) {
    const int which = i % 2;
    if (i >= 2) scatter(buckets_[static_cast<std::size_t>(i - 2)], which);
    if (i >= count) continue;
    const Bucket& b = buckets_[static_cast<std::size_t>(i)];
    const View all = message(b, which), own = part(b, all, data_rank_);
    pack_update(*team_.backend, queue_, team_.stage->params(), b, data_rank_, data_ranks_, own);
    flight[which] = team_.data->all_gather(queue_, all, own, b.update_bytes, "gathering updated parameters");
  }
}

}  // namespace banyan::train
