// The Communicator of GPU memory: what NCCL is asked for each call.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "comm/communicator.hpp"
#include "comm/nccl/mailbox.hpp"
#include "comm/nccl/nccl_link.hpp"
#include "comm/nccl/roll_call.hpp"

namespace banyan::comm {

class NcclGroup final : public Communicator {
 public:
  /// `left`: called by the destructor, before anything goes.
  NcclGroup(NcclShared& shared, std::unique_ptr<Communicator> host, std::function<void(NcclGroup&)> left);
  ~NcclGroup() override;

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  const std::string& name() const override { return host_->name(); }
  std::string peer_name(int member) const override { return host_->peer_name(member); }

  Event all_reduce(Queue q, View inout, ReduceOp op, std::string_view what) override;
  Event reduce_scatter(Queue q, View out, View in_scratch, std::span<const std::int64_t> counts, ReduceOp op,
                       std::string_view what) override;
  Event all_gather(Queue q, View out, ConstView in, std::span<const std::int64_t> counts,
                   std::string_view what) override;
  Event all_to_all_v(Queue q, View out, std::span<const std::int64_t> out_counts, ConstView in,
                     std::span<const std::int64_t> in_counts, std::string_view what) override;
  Event broadcast(Queue q, View inout, int root, std::string_view what) override;
  void barrier(std::string_view what) override { host_->barrier(what); }
  Event send(Queue q, ConstView in, int peer, int channel, std::string_view what) override;
  Event receive(Queue q, View out, int peer, int channel, std::string_view what) override;
  std::shared_ptr<const void> pin(ConstView memory) override;
  void use_plans(const GroupPlans& plans) override { host_->use_plans(plans); }
  void progress() override { shared_.check(); }

  // For NcclWorld.
  void look_after();
  /// Throws when the host communicator knows of a failure.
  void ask_host() { host_->progress(); }
  void abort() noexcept;

 private:
  /// Sender and receiver (both 0: collectives), channel.
  using LinkKey = std::tuple<int, int, int>;
  struct Letter {
    std::uint64_t link = 0;
    ncclUniqueId id{};
  };
  class Meeting;
  NcclLink& link(LinkKey key);
  NcclLink& collectives() { return link({0, 0, -1}); }
  std::optional<ncclUniqueId> mailed_id(int from, std::uint64_t link);
  Event collective(Queue q, const char* call, std::string_view what, RollWord word,
                   std::function<ncclResult_t(ncclComm_t, cudaStream_t)> issue);
  Event message(bool sends, Queue q, View data, int peer, int channel, std::string_view what);
  Event message_to_itself(bool sends, Queue q, View data, int channel, std::string_view what);
  std::string label(const char* call, std::string_view what) const;

  NcclShared& shared_;
  const std::function<void(NcclGroup&)> left_;
  const int exceptions_;
  std::unique_ptr<Mailbox> ids_;
  std::unique_ptr<RollCall> roll_;
  std::map<std::pair<int, std::uint64_t>, ncclUniqueId> ids_heard_;
  std::map<LinkKey, std::unique_ptr<NcclLink>> links_;
  std::map<int, std::deque<std::shared_ptr<Meeting>>> to_itself_;  ///< by channel: one half is missing
  std::unique_ptr<Communicator> host_;                             ///< goes first: letters move in the mailboxes
};

}  // namespace banyan::comm
