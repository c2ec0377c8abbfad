// Executes one rank's Plan over a Transport, without blocking.
#pragma once

#include <memory>
#include <string>
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
  View input, output;  ///< contiguous; a plan writes to its input only where its algorithm says so
  ReduceOp op = ReduceOp::kSum;
  ReduceFunction reduce;
  CopyFunction copy;
  Queue queue;
};

class PlanOperation final : public Operation {
 public:
  PlanOperation(Engine& engine, Execution execution, std::string what, Seconds silence);
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

/// One message of any length.
class MessageOperation final : public Operation {
 public:
  /// `sends` says which way.  `sequence` numbers the transport's messages of this stream; those used are added.
  MessageOperation(Engine& engine, bool sends, Message message, std::uint32_t& sequence, std::string what,
                   Seconds silence);
  ~MessageOperation() override;
  bool advance() override;
  void give_up(bool after_failure) override;
  int waits_for() const override { return peer_; }

 private:
  Engine& engine_;
  const int peer_;
  std::vector<Request*> requests_;
};

}  // namespace banyan::comm
