// What all Worlds share: who sits where, the engine, groups, and leaving.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/checked_transport.hpp"
#include "comm/communicator.hpp"
#include "comm/engine.hpp"
#include "comm/lifeline.hpp"
#include "comm/mover.hpp"
#include "comm/native.hpp"
#include "comm/shared/arena.hpp"

namespace banyan::comm {

/// The CopyFunction of host memory.
void copy_host_bytes(Queue queue, View out, ConstView in);

class WorldBase : public World {
 public:
  int rank() const override { return transport_->rank(); }
  int size() const override { return transport_->size(); }
  const std::string& host(int rank) const override { return places_.at(static_cast<std::size_t>(rank)).host; }
  int node(int rank) const override { return places_.at(static_cast<std::size_t>(rank)).node; }
  int leaf(int rank) const override { return places_.at(static_cast<std::size_t>(rank)).leaf; }
  int local_rank() const override { return local_rank_; }
  int local_size() const override { return local_size_; }
  std::string transport_name() const override { return engine_->transport().name(); }
  bool shares_memory() const override { return options_.shared_memory && memory_ != nullptr; }
  void set_leaves(const std::vector<int>& leaves) override;
  void configure(const WorldOptions& options, ReduceFunction reduce, CopyFunction copy) override;
  std::unique_ptr<Communicator> group(std::vector<int> world_ranks, int id, std::string name) override;
  void beat(std::string_view where) noexcept override;
  Seconds waited() const noexcept override { return engine_->waited(); }
  void announce_failure(int exit_code, const std::string& message) noexcept override;
  std::optional<PeerFailure> peer_failure() override;
  int blamed() const override;
  bool last_barrier(Seconds deadline) noexcept override;
  [[noreturn]] void abort(int exit_code) override;
  std::uint64_t signs_of_life() const noexcept override { return engine_->signs_of_life(); }
  std::optional<PeerFailure> overhear() noexcept override;
  bool leave_stuck(int exit_code, const std::string& message, Seconds deadline) noexcept override;
  void on_hang(std::function<void()> call) override { engine_->on_hang(std::move(call)); }

 protected:
  struct Place {
    std::string host;
    int node = 0;
    int leaf = 0;
  };
  WorldBase(std::unique_ptr<Transport> transport, std::unique_ptr<Lifeline> lifeline, std::vector<Place> places);
  Engine& engine() { return *engine_; }
  Lifeline& lifeline() { return *lifeline_; }
  const std::vector<std::string>& peer_names() const { return peer_names_; }
  /// What carries messages from now on, as options.host_transport says; called by all ranks together with nothing in
  /// flight.  ConfigError for what this World does not have.
  virtual Transport& choose_transport(const WorldOptions& options);
  /// The arenas of this rank's node; called by all ranks together.  nullptr unless it works on all of them.
  virtual std::unique_ptr<NodeMemory> share_memory(const WorldOptions& options) = 0;
  /// The library's own collectives for a group of these ranks; called by exactly them, with nothing in flight.
  /// ConfigError where there are none.
  virtual std::unique_ptr<NativeCollectives> native_collectives(const std::vector<int>& world_ranks, int id);
  /// The one it was made with.
  Transport& first_transport() { return *transport_; }
  const WorldOptions& options() const { return options_; }
  /// Before what carries messages is taken down.
  void end_background() { mover_.reset(); }
  /// What an engine of the start found out counts as found out by this world.
  void learn(const Engine& of_start) { found_at_start_ = of_start.verdict(); }
  /// Nothing failed; MPI may be entered once more.
  bool healthy() const { return !engine_->failed() && met_; }

 private:
  void meet_over_transport(Seconds deadline);
  /// Tells the others why this rank leaves, unless somebody else failed before; under the lock.
  void announce(const PeerFailure& failure);
  const std::optional<PeerFailure>& verdict() const {
    return engine_->verdict() ? engine_->verdict() : found_at_start_;
  }

  const std::unique_ptr<Transport> transport_;
  std::unique_ptr<CheckedTransport> checked_;  ///< over the chosen one, with comm.checksum = on
  const std::unique_ptr<Lifeline> lifeline_;
  std::vector<Place> places_;
  std::vector<std::string> peer_names_;
  int local_rank_ = 0, local_size_ = 0;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<NodeMemory> memory_;
  std::map<std::uint64_t, std::uint64_t> windows_;  ///< groups made so far, by id and members
  WorldOptions options_;
  ReduceFunction reduce_;
  CopyFunction copy_;
  std::optional<PeerFailure> found_at_start_;
  bool announced_ = false;
  bool met_ = true;
  std::unique_ptr<Mover> mover_;  ///< with options.background; it uses all of the above
};

}  // namespace banyan::comm
