// Collectives that a library brings along, behind the operations of the engine.  Not plans: the order of their sums is
// the library's affair.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/engine.hpp"
#include "comm/plans/plan.hpp"

namespace banyan::comm {

/// One collective as the Communicator was asked for it.
struct NativeCall {
  CollectiveKind kind = CollectiveKind::kAllReduce;
  View input, output;                     ///< contiguous host memory, as for a plan
  std::vector<std::int64_t> counts = {};  ///< as in Call
  std::vector<std::int64_t> in_counts = {};
  int root = 0;
  ReduceOp op = ReduceOp::kSum;
};

class NativeCollectives {
 public:
  virtual ~NativeCollectives() = default;
  /// Whether the library can do it: element types and lengths that are the same on all members decide.
  virtual bool takes(const NativeCall& call) const = 0;
  /// Begins it, without blocking.
  virtual std::shared_ptr<Operation> make(Engine& engine, NativeCall call, Label label, Seconds silence) = 0;
};

}  // namespace banyan::comm
