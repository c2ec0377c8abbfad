// Makes the gradients of all ranks one gradient: adds them over the data ranks while the backward pass goes on, adds
// what sequence parallelism left partial over the tensor ranks, and adds the two copies of a tied embedding.
//
//   zero = false   every data rank ends with the whole sum             (all-reduce of a range of the arena, in place)
//   zero = true    data rank i ends with the sum of the rows it owns   (reduce-scatter in shard-major order)
//
// Between data ranks gradients travel, and are added, as f32 or as bf16 (run.grad_dtype), which then go through a
// staging buffer in both cases; what a rank adds up itself, and the sums over the tensor ranks and of tied copies, are
// f32.
//
// Use: start(part) as the schedule says, finish() once, then read the gradients; after the update gather_params().
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/backend.hpp"
#include "src/job/setup.hpp"
#include "src/train/shards.hpp"

namespace banyan::train {

class GradSync {
 public:
  /// The team outlives this object.  travels: kF32 or kBF16.
  GradSync(job::Team& team, bool zero, DType travels, Queue queue);
  ~GradSync();
  GradSync(const GradSync&) = delete;
  GradSync& operator=(const GradSync&) = delete;

  /// The gradients of `part` are complete on this rank: starts adding them over the data ranks.
  void start(int part);
  /// Waits for everything started and adds the tied copies.
  void finish();
  /// This rank's share of the squared global gradient norm: rows it owns, replicated and tied parameters counted by one
  /// rank only.  Adding the shares of all working ranks gives the whole.  In parts, to be added in this order.
  std::vector<kernels::Number> owned_square_sums() const;
  /// First tensor whose owned gradient is not finite, "" when there is none; for the message.
  std::string first_not_finite() const;
  /// ZeRO-1: brings the updated rows of every owner to all data ranks; otherwise there is nothing to do.
  void gather_params();

  /// The rows of parameter i this data rank updates.
  model::Range update_rows(const model::LocalParam& p) const;
  const std::vector<Bucket>& buckets() const { return buckets_; }
  /// Bytes of the staging memory, counted by the memory plan.
  static std::size_t staging_bytes(const std::vector<Bucket>& buckets, bool zero, DType travels, int data_ranks);

 private:
  struct Flight {  ///< a bucket being reduced in one of the two staging buffers
    int part = -1;
    Event done;
  };
  bool staged() const { return zero_ || travels_ != DType::kF32; }
  std::byte* buffer(int which) const { return staging_ + static_cast<std::size_t>(which) * staging_bytes_ / 2; }
  View staging(int which, std::int64_t elements) const;
  void land(Flight& flight, int which);
  std::size_t partial_bytes() const { return sizeof(float) * static_cast<std::size_t>(partial_elements_); }
  void sum_partial(const Bucket& bucket);
  void sum_tied();

  job::Team& team_;
  const bool zero_;
  const DType travels_;
  const Queue queue_;
  const int data_rank_, data_ranks_;
  std::vector<Bucket> buckets_;
  std::vector<Event> reductions_;  ///< of buckets reduced in place
  std::size_t staging_bytes_ = 0;  ///< of the two buffers
  std::byte* staging_ = nullptr;
  std::shared_ptr<const void> pinned_;  ///< where gradients are added
  Flight flights_[2];
  int next_flight_ = 0;
  std::int64_t partial_elements_ = 0;
  std::byte* partial_ = nullptr;  ///< gathers the small tensors that are partial over the tensor ranks
};

}  // namespace banyan::train
