// The Communicator of every transport: collectives are plans, messages are messages, all of them operations of the
// World's engine.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/engine.hpp"
#include "comm/interpreter.hpp"
#include "comm/native.hpp"
#include "comm/plan_book.hpp"
#include "comm/plans/plan.hpp"
#include "comm/shared/window.hpp"

namespace banyan::comm {

/// What a World injects into the groups it makes.
struct GroupOptions {
  Seconds peer_timeout{20};
  ReduceFunction reduce;
  CopyFunction copy;
  /// Of the members, where all of them share a node: collectives go through a window in them, found by the key.
  std::vector<std::shared_ptr<Arena>> arenas = {};
  std::uint64_t window_key = 0;
  /// Makes the library's own collectives of these world ranks and group id, together with the other members.
  std::function<std::unique_ptr<NativeCollectives>(const std::vector<int>&, int)> native = {};
};

class Group final : public Communicator {
 public:
  Group(Engine& engine, GroupOptions options, std::vector<int> world_ranks, int id, std::string name);
  ~Group() override;

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(world_ranks_.size()); }
  const std::string& name() const override { return *name_; }
  std::string peer_name(int member) const override;

  Event all_reduce(Queue q, View inout, ReduceOp op, std::string_view what) override;
  Event reduce_scatter(Queue q, View out, View in_scratch, std::span<const std::int64_t> counts, ReduceOp op,
                       std::string_view what) override;
  Event all_gather(Queue q, View out, ConstView in, std::span<const std::int64_t> counts,
                   std::string_view what) override;
  Event all_to_all_v(Queue q, View out, std::span<const std::int64_t> out_counts, ConstView in,
                     std::span<const std::int64_t> in_counts, std::string_view what) override;
  Event broadcast(Queue q, View inout, int root, std::string_view what) override;
  void barrier(std::string_view what) override;
  Event send(Queue q, ConstView in, int peer, int channel, std::string_view what) override;
  Event receive(Queue q, View out, int peer, int channel, std::string_view what) override;
  std::shared_ptr<const void> pin(ConstView memory) override;
  void use_plans(const GroupPlans& plans) override;
  void progress() override;

 private:
  using Kind = CollectiveKind;
  /// A Call without memory of its own.
  struct Asked {
    Kind kind;
    std::size_t element_bytes;
    int root;
    std::span<const std::int64_t> counts = {}, in_counts = {};
  };
  Call call(const Asked& asked) const;
  Recipe recipe(const Call& call) const;
  std::shared_ptr<const Plan> make(const Recipe& recipe, const Call& call) const;
  std::shared_ptr<const Plan> plan(const Asked& asked);
  /// By the plan, or the library, that the group's plans name.
  Event collective(const Asked& asked, std::string_view what, Execution execution);
  Event execute(const char* call, std::string_view what, Execution execution);
  Event execute_on_window(const char* call, std::string_view what, Execution execution);
  Event message(bool sends, std::span<std::byte> data, int peer, int channel, std::string_view what);
  /// One that nobody uses any more, or a new one.
  std::shared_ptr<MessageOperation> idle_message();
  Label label(const char* call, std::string_view what) const { return {call, std::string(what), name_}; }
  void start(const std::shared_ptr<Operation>& operation);
  void remember(std::shared_ptr<Operation> operation);

  // Immutable after construction.
  Engine& engine_;
  const GroupOptions options_;
  const std::vector<int> world_ranks_;
  const int id_;
  const std::shared_ptr<const std::string> name_;
  int rank_ = -1;
  const int exceptions_;

  std::shared_ptr<SharedWindow> window_;                      ///< made when it is first used
  unsigned quick_ = 0;                                        ///< collectives on it
  std::uint64_t sequence_ = 0;                                ///< collectives so far
  std::unordered_map<std::uint64_t, std::uint32_t> streams_;  ///< messages so far, by peer, channel and direction
  struct Stream {
    std::uint64_t key = 0;
    std::uint32_t* count = nullptr;
  };
  std::array<Stream, 2> last_stream_;  ///< of those, for receiving and sending
  std::array<std::weak_ptr<Operation>, kSequences> by_sequence_;
  std::vector<std::weak_ptr<Operation>> in_flight_;          ///< given up by the destructor
  std::vector<std::shared_ptr<MessageOperation>> messages_;  ///< likewise; used again and again, one after the other
  std::size_t next_message_ = 0;                             ///< where to look first
  std::optional<GroupPlans> chosen_;                         ///< without: what choose() says
  std::unique_ptr<NativeCollectives> native_;                ///< made when plans first name it
  std::map<std::vector<std::int64_t>, std::shared_ptr<const Plan>> plans_;
  struct Recent {
    std::size_t element_bytes = 0;
    int root = 0;
    std::vector<std::int64_t> counts, in_counts;
    std::shared_ptr<const Plan> plan;
  };
  std::array<Recent, kCollectiveKinds> recent_;  ///< the last plan of each kind
};

}  // namespace banyan::comm
