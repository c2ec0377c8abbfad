// Checkpoints of a job: save and load over all working ranks, with votes, so that every rank has the same opinion of
// what is committed and what is resumed.  Protocol and format: io/FORMAT.md.
//
//   Checkpoints ckpt(*team.all, {.run_dir = ...});          // shared-directory check, lease (rank 0); collective
//   auto from = ckpt.load([&](Source& s) { ... s.read_slab(kParam, name, offset, out); ... });   // nullopt: fresh
//   start SaveResult r = ckpt.save({.step = ...}, slabs);         // never throws for a disk's sake; the old commit
//   stays
//
// Every member function is collective over the ranks given and must be called by all of them in the same order.
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
#include "src/job/resume.hpp"

namespace banyan::job {

/// A slab of a logical tensor that this rank shall write.  Each value is written by exactly one rank: cut replicated
/// slabs with io::row_slice over the ranks that hold them.  Empty slabs are skipped.  Host memory; untouched until save
/// returns.
using SaveTensor = io::ShardData;

struct CheckpointOptions {
  std::string run_dir{};
  std::string resume = "auto";  ///< auto | never | PATH of a checkpoint
  int keep = 3;
  bool view = true;
  Seconds io_limit{1800};  ///< a phase of a save or load that takes longer is given up (IoError)
  io::LeaseOptions lease{};
};

/// Everything of a manifest that the trainer decides.
struct SaveState {
  std::int64_t step = 0, tokens = 0, cursor = 0;
  std::string model_hash{}, config_text{}, mesh_text{}, plans_text{};
  std::map<std::string, std::string> extra{};
};

struct SaveResult {
  bool ok = false;
  std::string name;        ///< "step-000001200.e7"
  std::string error;       ///< one sentence, the same on all ranks; empty when ok
  int misses = 0;          ///< failed saves in a row
  std::int64_t bytes = 0;  ///< written by all ranks
  double seconds = 0;
};

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
  SaveResult save(const SaveState& state, std::span<const SaveTensor> tensors);

  std::int64_t epoch() const { return epoch_; }
  const std::string& run_uuid() const { return run_uuid_; }

 private:
  comm::Communicator& ranks_;
  CheckpointOptions options_;
  io::RunStore store_;
  std::unique_ptr<io::Lease> lease_;  ///< rank 0
  std::int64_t epoch_ = 0;
  std::string run_uuid_;
  io::CheckpointId base_;
  bool base_recorded_ = false;
  int misses_ = 0;
  std::int64_t committed_step_ = -1;  ///< of this attempt
};

/// For commands that only read (eval, generate, export over ranks): no lease, no marks.  PATH is a checkpoint directory
/// or a run directory (its newest that verifies).  Same contract for `fill`.
io::Manifest load_readonly(comm::Communicator& ranks, const std::string& path, Seconds io_limit,
                           const std::function<void(Source&)>& fill);

/// ConfigError when not every rank sees the same directory.  Collective.
void require_shared(comm::Communicator& ranks, const std::string& run_dir);

}  // namespace banyan::job
