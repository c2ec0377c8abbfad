// A checkpoint on its way to storage: what one rank knows of it.  Of checkpoint*.cpp and local_level.cpp alone.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "io/snapshot.hpp"
#include "src/job/checkpoint.hpp"

namespace banyan::job {

struct Save {
  Clock::time_point start = Clock::now();
  io::Manifest head;  ///< all of it but files and tensors
  SaveResult result;
  std::filesystem::path tmp;
  std::string file;  ///< name of what this rank writes
  Level level = Level::kRunDir;
  std::int64_t bytes = 0;              ///< that this rank writes, at most
  io::ManifestFile written{};          ///< what this rank wrote
  std::vector<SaveTensor> mine;        ///< slabs of this rank; of the copy once there is one
  std::shared_ptr<io::Snapshot> copy;  ///< of one that is written in the background
  std::filesystem::path from;          ///< of one that is copied from the nodes: where `written` lies
  bool background = false;             ///< training goes on meanwhile
  bool verify = true;
  Seconds waited{0};    ///< so far, by the caller
  bool second = false;  ///< being written from the same copy again
  std::string part;     ///< of the manifest (manifest_parts.hpp)

  /// Writes or copies this rank's file into `tmp`, durable when this returns.
  void write(const std::atomic<bool>& cancel);
};

/// Whether a later try may succeed: anything else is nothing that storage can be blamed for.
bool of_storage(const Verdict& verdict);

}  // namespace banyan::job
