// Who owns a run directory.  A start takes the next epoch E by creating lease/eE exclusively (a prepared directory is
// renamed into place, which fails when the name is taken), so two starts never share an epoch.  Whatever a process of
// an older epoch does later is fenced: it finds a newer epoch and must not commit or prune.
//
//   lease/e7/OWNER       who: host, boot, pid, start time of the process, job id, nonce, run uuid
//   lease/e7/BASE        the checkpoint this attempt accepted as its start (name and digest), written once known
//   lease/e7/HEARTBEAT   a counter that the holder raises every few seconds
//   lease/e7/RELEASED    the holder left in order
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/manifest.hpp"
#include "src/base/section.hpp"

namespace banyan::io {

struct LeaseOwner {
  std::string host, boot, pid_space;
  std::int64_t pid = 0;
  std::uint64_t start_time = 0;  ///< of the process, in clock ticks since boot
  std::string job;               ///< of the batch system; may be empty
  std::string nonce;             ///< random
  std::string run_uuid;          ///< handed on from lease to lease

  /// This process.  run_uuid is left empty.
  static LeaseOwner self();
  /// "process 4711 on n3 (job 88)".
  std::string str() const;
};

struct LeaseOptions {
  Seconds beat{3};                      ///< the holder's heartbeat
  Seconds silence{20};                  ///< a heartbeat of another host that stands still this long is dead
  std::function<void()> while_waiting;  ///< called again and again while another host's heartbeat is watched; may throw
};

/// Held by one process of a job (rank 0).  A thread keeps the heartbeat.
class Lease {
 public:
  /// Takes the next epoch of RUN_DIR.  RunHeldError naming the holder when a live process has it.
  Lease(std::filesystem::path run_dir, const LeaseOptions& options = {});
  /// Stops the heartbeat and marks the lease as released.
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  std::int64_t epoch() const { return epoch_; }
  const std::string& run_uuid() const { return owner_.run_uuid; }
  const LeaseOwner& owner() const { return owner_; }
  /// Records what this attempt starts from (an empty id for a fresh start).  Once.
  void record_base(const CheckpointId& base);
  /// "" while the lease is ours; otherwise a sentence saying who took the run over.
  std::string lost() const;
  /// The same as the heartbeat's thread saw it last, every `beat`, without asking storage: for a process that slept, or
  /// whose storage was away, so long that another start took it for dead.  Any thread.
  std::string seen_lost() const;

 private:
  struct Heart;

  std::filesystem::path run_dir_, dir_;
  LeaseOptions options_;
  LeaseOwner owner_;
  std::int64_t epoch_ = 0;
  std::shared_ptr<Heart> heart_;  ///< the heartbeat's thread; it outlives the lease when the file system hangs
};

/// Epochs under RUN_DIR/lease, ascending.
std::vector<std::int64_t> lease_epochs(const std::filesystem::path& run_dir);
/// What epoch E recorded; nullopt when it recorded none (or the lease is gone).
std::optional<CheckpointId> lease_base(const std::filesystem::path& run_dir, std::int64_t epoch);
std::optional<LeaseOwner> lease_owner(const std::filesystem::path& run_dir, std::int64_t epoch);
/// True when the holder of epoch E left in order; false says nothing, it may be dead.
bool lease_released(const std::filesystem::path& run_dir, std::int64_t epoch);

}  // namespace banyan::io
