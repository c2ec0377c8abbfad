// Checkpoints of a job: save and load over all working ranks, with votes, so that every rank has the same opinion of
// what is committed and what is resumed.  Protocol and format: io/FORMAT.md.
//
//   Checkpoints ckpt(*team.all, {.run_dir = ...});          // shared-directory check, lease (rank 0); collective
//   auto from = ckpt.load([&](Source& s) { ... s.read_slab(kParam, name, offset, out); ... });   // nullopt: fresh
//   start SaveResult r = ckpt.save({.step = ...}, slabs);         // waits; never throws for a disk's sake: the old
//   commit stays
//
//   ckpt.begin({.step = ...}, slabs);                       // copies the slabs and returns; a thread writes the copy
//   ... steps, each with a vote on writing() ...
//   ckpt.finish();                                          // commits what all ranks have written
//
//   ckpt.begin({.step = ...}, slabs, Level::kNodes); ... ckpt.finish();
//   ckpt.drain();                                           // copies that one into the run directory, by a thread
//   ... steps and node-local checkpoints, with votes on draining() ...
//   ckpt.finish_drain();                                    // commits it there
//
// Member functions that are not const are collective over the ranks given: all call them in the same order.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "comm/communicator.hpp"
#include "io/checkpoint_reader.hpp"
#include "io/lease.hpp"
#include "io/manifest.hpp"
#include "io/run_store.hpp"
#include "io/shard_file.hpp"
#include "src/base/section.hpp"
#include "src/job/local_level.hpp"
#include "src/job/resume.hpp"
#include "src/job/task.hpp"
#include "src/job/together.hpp"

namespace banyan::io {
class Snapshot;
}

namespace banyan::job {

struct Save;

/// A slab of a logical tensor that this rank shall write.  Each value is written by exactly one rank: cut replicated
/// slabs with io::row_slice over the ranks that hold them.  Empty slabs are skipped.  Host memory; untouched until save
/// returns.
using SaveTensor = io::ShardData;

struct CheckpointOptions {
  std::string run_dir{};
  std::string resume = "auto";  ///< auto | never | PATH of a checkpoint
  int keep = 3;
  bool view = true;
  bool verify = true;              ///< files are read back from storage before they count
  Seconds io_limit{1800};          ///< a phase of a save or load that takes longer is given up (IoError)
  Seconds background_limit{1800};  ///< the same for what is written while training goes on
  io::LeaseOptions lease{};
  LocalOptions local{};
  std::function<void(const std::atomic<bool>& cancel)> before_writing{};  ///< on the thread that writes; for tests
};

/// Everything of a manifest that the trainer decides.
struct SaveState {
  std::int64_t step = 0, tokens = 0, cursor = 0;
  std::string model_hash{}, config_text{}, mesh_text{}, plans_text{};
  std::map<std::string, std::string> extra{};
};

struct SaveResult {
  bool ok = false;         ///< committed; of begin(): on its way
  bool again = false;      ///< of finish(): writing failed and was begun once more
  std::string name;        ///< "step-000001200.e7"
  std::string error;       ///< one sentence, the same on all ranks; empty when ok
  int misses = 0;          ///< failed saves in a row
  std::int64_t bytes = 0;  ///< written by all ranks
  double seconds = 0;      ///< what all of it took, or would have taken if somebody had waited for the writing
};

/// How far a rank is with a checkpoint that is on its way, for a vote.
enum class Writing : std::uint8_t { kDone, kUnderWay, kFailed };

/// Where a checkpoint is written to.
enum class Level : std::uint8_t { kRunDir, kNodes };

class Checkpoints {
 public:
  /// Checks that all ranks see the run directory (ConfigError 78 naming the rank that does not) and takes the lease
  /// (RunHeldError 73 naming the holder).
  Checkpoints(comm::Communicator& ranks, CheckpointOptions options);
  ~Checkpoints();

  /// Resumes: offers `fill` the newest checkpoint that verifies, the same one to every rank, and accepts it when no
  /// rank met a DataError or IoError; otherwise the next older one, loudly.  `fill` runs on a helper thread and must
  /// not use communicators; any other error it throws (ConfigError: a changed key) is thrown here, on every rank.
  /// nullopt: the run directory has no checkpoint, start fresh.  ConfigError 78: there are some, none is usable.
  /// Must be called once, before the first save.
  std::optional<io::Manifest> load(const std::function<void(Source&)>& fill);

  /// Writes and commits.  The result is the same on all ranks; a failure leaves the previous commit as it was and no
  /// half-written directory.  A step this attempt has committed already is not written again.  Throws only CommError (a
  /// peer is lost) and RunHeldError (another job took the run over).
  /// `level` kNodes: node-local, only when local(); misses are counted apart.
  SaveResult save(const SaveState& state, std::span<const SaveTensor> tensors, Level level = Level::kRunDir);

  /// Has a thread take the memory that begin() will need for the slabs, so that the first copy is as fast as all
  /// others. Of this rank alone; not while one is on its way.
  void prepare(std::span<const SaveTensor> tensors);
  /// Copies the slabs to memory of its own, kept for the next time, and has the copy written by a thread while the
  /// caller goes on and changes them.  `ok`: on its way, or committed already.  A failure is one of save().
  SaveResult begin(const SaveState& state, std::span<const SaveTensor> tensors, Level level = Level::kRunDir);
  /// True from begin() until finish() returns anything but `again`; at most one checkpoint is on its way.
  bool in_flight() const { return pending_.save != nullptr; }
  /// Of this rank.  As soon as no rank says kUnderWay, or one says kFailed, finish() waits for nothing but the commit.
  Writing writing() const { return progress_of(pending_); }
  /// Waits until all ranks have written, and commits, as save() does.  When writing or committing failed for the first
  /// time, the same copy is written again (`again`), into the run directory only.  IoError when a rank's writing has
  /// taken longer than background_limit.
  SaveResult finish();

  /// Begins to copy the node-local checkpoint that this attempt committed last into the run directory: every rank its
  /// own file, from its node, by a thread, while training goes on and other node-local ones are made.  A failure is one
  /// of save(); where the run directory has it already, there is nothing to do.
  SaveResult drain();
  /// True from drain() until finish_drain() returns anything but `again`; none is saved into the run directory then.
  bool in_drain() const { return drain_.save != nullptr; }
  /// As writing() and finish(): what is copied again is the same file.
  Writing draining() const { return progress_of(drain_); }
  SaveResult finish_drain();

  /// Whether another start has taken the run over, as the lease saw it last: the next save throws RunHeldError.  Known
  /// to the rank that holds the lease.
  bool taken_over() const { return lease_ && !lease_->seen_lost().empty(); }
  std::int64_t epoch() const { return epoch_; }
  const std::string& run_uuid() const { return run_uuid_; }
  /// Whether there are node-local checkpoints.
  bool local() const { return level_ && level_->usable(); }
  /// Removes the node-local ones of this node, because the run directory has all that this attempt has done.  Of this
  /// rank alone.
  void leave_in_order();

 private:
  /// One that a thread writes.
  struct Flight {
    std::shared_ptr<Save> save;
    std::shared_ptr<Task> writer;
  };

  std::shared_ptr<Save> describe(const SaveState& state, std::span<const SaveTensor> tensors, Level level);
  void require_lease() const;
  Verdict reserve(const Save& s);
  void start_writer(Flight& flight);
  Writing progress_of(const Flight& flight) const;
  SaveResult finish(Flight& flight);
  Verdict write(const std::shared_ptr<Save>& s);
  Verdict commit(const Save& s);
  void commit_to_run_dir(const Save& s, const io::Manifest& manifest, const std::string& text);
  SaveResult committed(const std::shared_ptr<Save>& s);
  void discard(const Save& s);
  SaveResult missed(Save& s, const Verdict& verdict);

  comm::Communicator& ranks_;
  CheckpointOptions options_;
  io::RunStore store_;
  std::unique_ptr<io::Lease> lease_;  ///< rank 0
  std::int64_t epoch_ = 0;
  std::string run_uuid_;
  io::CheckpointId base_;
  bool base_recorded_ = false;
  int misses_ = 0;
  std::shared_ptr<LocalLevel> level_;  ///< null without
  int misses_there_ = 0;
  std::int64_t committed_step_ = -1, committed_there_ = -1;  ///< of this attempt; node-local ones
  std::shared_ptr<io::Snapshot> copy_;
  std::shared_ptr<Task> making_room_;   ///< for copy_, if anybody asked for it
  Flight pending_, drain_;              ///< on their way
  std::shared_ptr<Save> newest_there_;  ///< committed on the nodes
  std::unique_ptr<Task> tidying_;       ///< rank 0: removes old checkpoints
};

/// For commands that only read (eval, generate, export over ranks): no lease, no marks.  PATH is a checkpoint directory
/// or a run directory (its newest that verifies).  Same contract for `fill`.
io::Manifest load_readonly(comm::Communicator& ranks, const std::string& path, Seconds io_limit,
                           const std::function<void(Source&)>& fill);

}  // namespace banyan::job
