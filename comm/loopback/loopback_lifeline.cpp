#include "comm/loopback/loopback_lifeline.hpp"

#include <utility>

namespace banyan::comm {

LoopbackLifeline::LoopbackLifeline(std::shared_ptr<LoopbackBoard> board, int rank, int size)
    : board_(std::move(board)), rank_(rank), size_(size) {}

void LoopbackLifeline::poll() {
  if (announced_ || !board_->any_failure.load(std::memory_order_acquire)) return;
  const std::lock_guard lock(board_->mutex);
  for (const PeerFailure& failure : board_->failures)
    if (failure.rank != rank_ || !spoke_) {
      announced_ = failure;
      return;
    }
}

void LoopbackLifeline::announce(const PeerFailure& failure) {
  spoke_ = true;
  const std::lock_guard lock(board_->mutex);
  board_->failures.push_back(failure);
  board_->any_failure.store(true, std::memory_order_release);
}

void LoopbackLifeline::beat(std::string_view where) {
  const std::lock_guard lock(board_->mutex);
  board_->beats.add(rank_, where);
}

const Beat* LoopbackLifeline::last_beat(int rank) const {
  const std::lock_guard lock(board_->mutex);
  const Beat* beat = board_->beats.of(rank);
  if (!beat) return nullptr;
  heard_ = *beat;
  return &heard_;
}

bool LoopbackLifeline::meet(Seconds deadline) {
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(deadline);
  ++board_->leaving;
  for (Backoff backoff; board_->leaving < size_; backoff.pause())
    if (Clock::now() > end) return false;
  return true;
}

}  // namespace banyan::comm
