// What one node holds of the node-local checkpoints of a run: files of its own ranks, and copies of another node's.
//
//   LOCAL/banyan-RUN_UUID/            mode 0700; gone when the run has left in order
//     RUN                             path of the run directory
//     NODE                            a random word of the job that uses it: two nodes that read the same share LOCAL
//     LOCK                            locked (flock) by the process that uses it
//     ckpt/step-000000012.e3/         as in a run directory (run_store.hpp), but with those files only that this node
//     has
//       MANIFEST.json                 of all files, wherever they are; extra has "level": "local"
//
// A node-local checkpoint counts when all files that its manifest names can be found on some node of the job and have
// their digests; which, is for src/job/local_resume to find out.  Used by one process of each node.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/atomic_file.hpp"
#include "io/run_store.hpp"

namespace banyan::io {

/// In Manifest::extra: which level of storage a checkpoint was written to; not there: the run directory.
inline constexpr const char* kLevel = "level";
inline constexpr const char* kLocalLevel = "local";

/// What a node has of one checkpoint.
struct LocalHolding {
  CheckpointId id;  ///< name without "local/"; the manifest's digest
  std::int64_t step = 0, epoch = 0;
  std::int64_t files_in_all = 0;      ///< that the manifest names
  std::vector<std::int64_t> files{};  ///< of them those that are here with their sizes: indices into Manifest::files
};

class LocalStore {
 public:
  /// Touches nothing.  DataError when `run_uuid` is no name for a directory.
  LocalStore(std::filesystem::path local, const std::string& run_uuid);

  const std::filesystem::path& directory() const { return store_.run_dir(); }
  /// Names and paths of checkpoints.
  const RunStore& store() const { return store_; }

  /// Makes the directory, or takes up the one that is there, removes what was not finished before `epoch`, and holds
  /// the lock from now on.  IoError when LOCAL is missing or cannot be written; DataError when the directory is not of
  /// this user alone.
  void open(const std::filesystem::path& run_dir, std::int64_t epoch);
  /// Leaves a word for shares().
  void sign(const std::string& word) const;
  /// Whether somebody has signed with another word since.
  bool shares(const std::string& word) const;

  /// Committed checkpoints of this run that have a sound manifest, newest first.  `problems`: a sentence for each other
  /// one.
  std::vector<LocalHolding> holdings(std::vector<std::string>& problems) const;
  /// The manifest of one.  DataError when it is not what it should be.
  Manifest manifest(const std::string& name) const;

  /// Removes all but the newest `keep` of attempts up to `epoch`, and that called `spared`; later attempts' are not
  /// this one's to judge.
  void prune(std::int64_t epoch, int keep, const std::string& spared = "") const;
  /// Removes the directory with everything in it, if open() got to hold it.
  void remove() const;
  /// Removes what other runs of this user have left in LOCAL although nothing in it is newer than what their run
  /// directories have, or those are gone.  Returns the names.
  std::vector<std::string> sweep_others() const;

 private:
  std::filesystem::path local_;
  std::string run_uuid_;
  RunStore store_;
  File lock_;
};

/// Whether files of this directory take memory instead of a disk.
bool in_memory(const std::filesystem::path& directory);

}  // namespace banyan::io
