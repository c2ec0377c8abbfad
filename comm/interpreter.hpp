// Executes one rank's Plan over a Transport, without blocking.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/engine.hpp"
#include "comm/plans/plan.hpp"

namespace banyan::comm {

/// What a plan needs to become an operation.
struct Execution {
  std::shared_ptr<const Plan> plan;
  const std::vector<int>* world_ranks = nullptr;  ///< of the plan's ranks; outlives the operation
  Tag tag;
  std::uint32_t first_number = 0;  ///< of the messages to and from every peer: unlike that of earlier uses of the tag
  View input, output;              ///< contiguous; a plan writes to its input only where its algorithm says so
  ReduceOp op = ReduceOp::kSum;
  const ReduceFunction* reduce = nullptr;  ///< as the next, outlives the operation
  const CopyFunction* copy = nullptr;
  Queue queue;
};

class PlanOperation final : public Operation {
 public:
  PlanOperation(Engine& engine, Execution execution, Label label, Seconds silence);
  ~PlanOperation() override;
  bool advance() override;
  void give_up(bool after_failure) override;
  int waits_for() const override;

 private:
  struct Posted {
    std::size_t step;
    Request* request;
  };
  View view(const Slice& slice) const;
  void issue(std::size_t step);
  bool reap();

  Engine& engine_;
  const Execution execution_;
  ScratchPool::Block scratch_;
  std::vector<Posted> posted_;                  // in order of steps
  std::vector<bool> complete_;                  // by step, messages only
  std::size_t next_ = 0;                        // first step not issued
  std::vector<std::uint32_t> sent_, received_;  // messages so far, by plan rank
};

/// Largest message of a transport; longer ones go in pieces.
inline constexpr std::size_t kLargestMessage = std::size_t{1} << 30;  // MPI counts in int

/// One message of any length.  Its group uses it again for another one when nobody else holds it.
class MessageOperation final : public Operation {
 public:
  /// Of requests that were posted already.
  MessageOperation(Engine& engine, std::vector<Request*> requests, int peer, Label label, Seconds silence);
  ~MessageOperation() override;
  /// For the next message to or from `peer`, a world rank; its requests follow by add.
  void reuse(int peer, const char* call, std::string_view what);
  void add(Request* request) { requests_.push_back(request); }
  bool advance() override;
  void give_up(bool after_failure) override;
  bool can_advance() const override {
    return next_ == requests_.size() || requests_[next_]->state() != Request::State::kPending;
  }
  int waits_for() const override { return peer_; }

 private:
  Engine& engine_;
  int peer_;
  std::vector<Request*> requests_;  // in order
  std::size_t next_ = 0;            // the first that is not given back
};

}  // namespace banyan::comm
