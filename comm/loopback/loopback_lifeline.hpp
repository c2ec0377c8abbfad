// The Lifeline between threads.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "comm/lifeline.hpp"

namespace banyan::comm {

/// What the ranks share.
struct LoopbackBoard {
  std::mutex mutex;
  std::vector<PeerFailure> failures;  ///< in the order in which they were announced
  std::atomic<bool> any_failure{false};
  std::atomic<int> leaving{0};
};

class LoopbackLifeline final : public Lifeline {
 public:
  LoopbackLifeline(std::shared_ptr<LoopbackBoard> board, int rank, int size);
  void poll() override;
  const std::optional<PeerFailure>& announced() const override { return announced_; }
  void announce(const PeerFailure& failure) override;
  bool meet(Seconds deadline) override;
  void leave() override {}

 private:
  const std::shared_ptr<LoopbackBoard> board_;
  const int rank_, size_;
  std::optional<PeerFailure> announced_;
};

}  // namespace banyan::comm
