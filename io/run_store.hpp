// The checkpoints of a run directory: names, which of them belong to this run's history, marks, removal.
//
//   ckpt/step-000001200.e7/          committed: the rename to this name is the commit
//   ckpt/step-000001200.e7.tmp/      being written, or left by a job that died
//   ckpt/step-000001200.e7.BAD       a mark beside it: somebody found it damaged; the text says what
//   ckpt/.trash-step-...             being removed
//   LATEST                           name of the newest commit: a hint for people, never believed
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/manifest.hpp"

namespace banyan::io {

enum class CheckpointState : std::uint8_t { kCommitted, kBad, kTmp };

struct CheckpointEntry {
  std::string name;  ///< without .tmp
  std::int64_t step = 0, epoch = 0;
  CheckpointState state = CheckpointState::kCommitted;
};

/// "step-000001200.e7".
std::string checkpoint_name(std::int64_t step, std::int64_t epoch);
/// False for names that checkpoint_name would not write.
bool parse_checkpoint_name(const std::string& name, std::int64_t& step, std::int64_t& epoch);

/// The name under which a lease records a node-local checkpoint (local_store.hpp) as its base: "local/NAME".
std::string local_name(const std::string& name);
/// NAME of "local/NAME"; other names stay as they are.
std::string without_level(const std::string& name);

/// True when a job or an import has worked there: it has ckpt/, lease/ or causes/.
bool is_run_dir(const std::filesystem::path& path);

class RunStore {
 public:
  explicit RunStore(std::filesystem::path run_dir) : run_dir_(std::move(run_dir)) {}
  const std::filesystem::path& run_dir() const { return run_dir_; }
  std::filesystem::path ckpt_dir() const { return run_dir_ / "ckpt"; }
  std::filesystem::path path_of(const std::string& name) const { return ckpt_dir() / name; }
  std::filesystem::path tmp_of(const std::string& name) const { return ckpt_dir() / (name + ".tmp"); }

  /// Every checkpoint directory, newest step first, then newest epoch first.  From names only: no times, no contents.
  std::vector<CheckpointEntry> list() const;

  /// What a start may resume from, best first, each with the digest its successor recorded (or an empty one): the
  /// commits of the newest attempt before epoch `before`, then of its base's attempt up to the base, and so on.  Late
  /// commits of attempts that were given up are not among them.  BAD ones are left in; the caller says that it skips
  /// them.  `local`: node-local checkpoints of this run, by local_name and digest; they take their places among the
  /// others, behind one of the run directory with the same step.
  std::vector<CheckpointId> chain(std::int64_t before, std::span<const CheckpointId> local = {}) const;
  /// The bases that chain() walked through, newest attempt first.
  std::vector<CheckpointId> bases(std::int64_t before, std::span<const CheckpointId> local = {}) const;

  bool is_bad(const std::string& name) const;
  void mark_bad(const std::string& name, const std::string& reason) const;

  /// Commits TMP under NAME: never onto an existing name.
  void commit(const std::string& name) const;
  /// Takes a committed one out of sight, for empty_trash.
  void discard(const std::string& name) const;
  /// Unlinks what was taken out of sight.
  void empty_trash() const;
  void write_latest(const std::string& name) const;
  /// What LATEST says; empty when there is none.
  std::string latest() const;

  /// Removes what is older than the newest `keep` good ones of the own chain (the commits of `epoch` and what they came
  /// from); two stay whatever is asked.  `good`: whether a committed one may be counted on; those that may not stay,
  /// and do not count.  Two phases: rename to .trash, then unlink.  Returns the names.
  std::vector<std::string> prune(std::int64_t epoch, int keep,
                                 const std::function<bool(const std::string& name)>& good) const;
  /// Removes what dead attempts left (.tmp of epochs before `epoch`, .trash, leases that lead from no attempt to a
  /// checkpoint).  The lease holder calls it.
  void sweep(std::int64_t epoch) const;

 private:
  std::filesystem::path run_dir_;
};

}  // namespace banyan::io
