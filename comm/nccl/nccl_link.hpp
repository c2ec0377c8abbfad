// One communicator of NCCL and its stream: made without blocking, given operations in order, asked how it is.
#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/nccl/roll_call.hpp"

namespace banyan::comm {

/// BugError, unless e is success.
void must_cuda(const std::string& what, cudaError_t e);

/// Events that were used and can be used again.
class NcclEvents {
 public:
  NcclEvents() = default;
  ~NcclEvents();
  NcclEvents(const NcclEvents&) = delete;
  NcclEvents& operator=(const NcclEvents&) = delete;
  /// Complete when what the stream has been given so far is; given back with the last pointer to it.
  std::shared_ptr<CUevent_st> record(cudaStream_t stream);

 private:
  std::vector<cudaEvent_t> idle_;
};

/// What all links of a process share.
struct NcclShared {
  Seconds peer_timeout{20};
  int device = 0;
  std::function<cudaStream_t(Queue)> stream;
  std::function<void()> check;  ///< NcclWorld::check
  std::shared_ptr<NcclEvents> events = std::make_shared<NcclEvents>();
  std::string failure;  ///< why nothing is possible any more; empty: nothing went wrong
};

/// One operation, or a group of them that NCCL takes as one.
struct NcclWork {
  std::string name;  ///< "all-reduce gradients of data group by NCCL"
  RollWord word;     ///< without link and number
  cudaStream_t queue = nullptr;
  std::function<ncclResult_t(ncclComm_t, cudaStream_t)> issue;
  std::shared_ptr<CUevent_st> begin{}, end{};  ///< end: once it is in the stream
};

class NcclLink {
 public:
  /// Where the communicator's id comes from: nothing as yet on members that are sent it.
  using Id = std::function<std::optional<ncclUniqueId>()>;
  /// Of these members of the group, this one being number `rank` of them; `number` tells it from the group's others.
  /// `most_blocks`: of the GPU's, that an operation takes; 0: as NCCL likes.
  NcclLink(NcclShared& shared, std::uint64_t number, std::string name, std::vector<int> members, int rank, Id id,
           int most_blocks);
  ~NcclLink();
  NcclLink(const NcclLink&) = delete;
  NcclLink& operator=(const NcclLink&) = delete;

  const std::vector<int>& members() const { return members_; }
  int rank() const { return rank_; }
  ncclComm_t get() const { return comm_; }

  /// Gives it work that begins when its queue has done what it was given so far.
  Event enqueue(NcclWork work);
  /// Does what can be done without waiting, asks NCCL how it is; throws what it says.
  void advance();
  /// With nothing moving: calls the roll, throws when that tells what is wrong.  After advance.
  void watch(RollCall& roll);
  /// Ends what is under way.
  void abort() noexcept;
  /// Waits for what is under way and gives the communicator back, together with the other members.
  void finish();

 private:
  class WorkEvent;
  enum class Phase : std::uint8_t { kNoId, kStarting, kReady, kFinishing, kGone };
  void start(const ncclUniqueId& id);
  /// What NCCL says of the communicator; throws unless it is well or at work.
  ncclResult_t ask();
  void check(ncclResult_t result);
  const NcclWork* oldest() const;
  bool moves();
  void judge(const RollWord& mine, RollCall& roll);

  NcclShared& shared_;
  const std::uint64_t number_;
  const std::string name_;
  const std::vector<int> members_;
  const int rank_;
  const Id id_;
  const int most_blocks_;
  Phase phase_ = Phase::kNoId;
  ncclComm_t comm_ = nullptr;
  cudaStream_t stream_ = nullptr;
  std::deque<std::shared_ptr<NcclWork>> waiting_;  ///< not given to NCCL
  std::shared_ptr<NcclWork> issuing_;              ///< NCCL is not done with the call
  std::deque<std::shared_ptr<NcclWork>> under_way_;
  std::uint64_t given_ = 0, done_ = 0;
  // Silence is counted while somebody looks, as that of messages.
  Seconds silence_{0};
  std::uint64_t silent_since_ = 0;  ///< done_ then
  Clock::time_point last_look_{};
};

}  // namespace banyan::comm
