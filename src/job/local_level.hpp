// Node-local checkpoints of a job (checkpoint.local): the steps of a save that differ from one into the run directory,
// and what a start finds on the nodes.  Each node has a directory of its own (io/local_store.hpp), in which its ranks
// write their files and keep copies of another node's (partners.hpp).  The lowest rank of a node leads: it makes,
// commits and removes; only it looks at directories.
//
// Member functions that are not const are collective, but for write(), spare() and leave().
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "io/local_store.hpp"
#include "src/job/resume.hpp"
#include "src/job/task.hpp"
#include "src/job/together.hpp"

namespace banyan::job {

struct Save;

struct LocalOptions {
  std::string directory{};               ///< empty: no node-local checkpoints
  int keep = 2;                          ///< newest ones
  comm::Communicator* copies = nullptr;  ///< of the same ranks, for the thread that writes
  std::vector<int> node{};               ///< of each rank, 0 .. without gaps
  std::vector<int> leaf{};               ///< of each node
};

/// Node and leaf of the members of a group.
void set_places(LocalOptions& options, const comm::World& world, const std::vector<int>& world_ranks);

class LocalLevel {
 public:
  /// Takes up the directories of all nodes.  Where one cannot be used, all go without, with a warning: usable().
  LocalLevel(comm::Communicator& ranks, LocalOptions options, const std::filesystem::path& run_dir,
             const std::string& run_uuid, std::int64_t epoch, Seconds io_limit);
  ~LocalLevel();

  bool usable() const { return usable_; }

  // A save, in this order.
  std::filesystem::path tmp_of(const std::string& name) const { return store_->store().tmp_of(name); }
  std::filesystem::path path_of(const std::string& name) const { return store_->store().path_of(name); }
  /// Makes the directories and sees that there is room.  `first` is called before, on every rank.
  Verdict reserve(const Save& s, const std::function<void()>& first);
  /// Writes this rank's file, sends it to its partner and receives what it is one for.  On any thread; comes to its end
  /// on all ranks, whatever goes wrong on one.
  void write(Save& s, const std::atomic<bool>& cancel);
  /// Commits on every node, then removes old ones; `manifest` is rank 0's.
  Verdict commit(const Save& s, const std::string& manifest);
  void discard(const Save& s);
  /// From now on the one called so is not removed, because it is being copied; "": any may be.
  void spare(const std::string& name) { spared_ = name; }

  // A start.
  /// On rank 0: those of which every file is on some node of the job, newest first.
  std::vector<Candidate> candidates();
  struct Fetched {
    std::filesystem::path directory;  ///< where this rank reads
    io::Manifest manifest;
    std::string problem;  ///< why it cannot be used, the same on all ranks; "" when it can
  };
  /// Sees that every rank finds, on its node and whole, the files it will read: what `fill` asks for.  Files that are
  /// missing or damaged are fetched from another node.  Errors of `fill` are thrown on all ranks.
  Fetched fetch(const Candidate& candidate, const std::function<void(Source&)>& fill);

  /// Ends a write() that waits for other ranks, because this one leaves.
  void abandon() { abandon_->store(true); }
  /// The run has left in order: nothing here is newer than what its run directory has.  Of this rank alone.
  void leave();

 private:
  bool leads() const { return leader_[static_cast<std::size_t>(my_node())] == ranks_.rank(); }
  int my_node() const { return options_.node[static_cast<std::size_t>(ranks_.rank())]; }
  std::vector<int> ranks_of(int node) const;
  void tell_plan() const;
  std::vector<std::set<int>> gather_files(const std::set<int>& mine, std::string_view what);
  std::set<int> whole_files(const std::string& name, const io::Manifest& manifest, const std::set<int>& wanted);
  std::string bring(const std::string& name, const io::Manifest& manifest, const std::set<int>& needed);

  comm::Communicator& ranks_;
  LocalOptions options_;
  Seconds io_limit_;
  std::int64_t epoch_;
  std::shared_ptr<io::LocalStore> store_;
  std::vector<int> leader_;   ///< of each node
  std::vector<int> to_;       ///< rank_partners
  std::vector<int> sources_;  ///< ranks whose files this one keeps
  bool usable_ = false;
  std::string spared_;
  std::shared_ptr<std::atomic<bool>> abandon_ = std::make_shared<std::atomic<bool>>(false);
  std::unique_ptr<Task> tidying_;  ///< leaders: removes old ones
};

}  // namespace banyan::job
