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
  Beats beats;
};

class LoopbackLifeline final : public Lifeline {
 public:
  LoopbackLifeline(std::shared_ptr<LoopbackBoard> board, int rank, int size);
  void poll() override;
  const std::optional<PeerFailure>& announced() const override { return announced_; }
  void announce(const PeerFailure& failure) override;
  bool meet(Seconds deadline) override;
  void beat(std::string_view where) override;
  const Beat* last_beat(int rank) const override;
  void leave() override {}

 private:
  const std::shared_ptr<LoopbackBoard> board_;
  const int rank_, size_;
  std::optional<PeerFailure> announced_;
  bool spoke_ = false;  ///< a failure of this rank may be its own word
  mutable Beat heard_;  ///< what last_beat gave last
};

}  // namespace banyan::comm
