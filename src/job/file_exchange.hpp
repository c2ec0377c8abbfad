// Files that travel from a rank to another one, as messages, checked against their digests on both sides.
#pragma once

#include <atomic>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "io/manifest.hpp"

namespace banyan::job {

/// A file that this rank sends.  An empty path: there is none, which the receiver is told.
struct Outgoing {
  int to = 0;
  std::filesystem::path path;
  io::ManifestFile file;  ///< name, size and digest that it shall have
};

/// A file that this rank receives into a directory, under the name that its sender gives.
struct Incoming {
  int from = 0;
  std::filesystem::path directory;
};

/// How one file fared on this rank; the receiver's word counts.
struct Passed {
  io::ManifestFile file;  ///< name "" when there was none
  std::string problem;    ///< a sentence; "" when the file is there, synced, with its digest
};

struct Exchanged {
  std::vector<Passed> sent, received;  ///< as asked for
  /// The first sentence; "" when all went well.
  std::string problem() const;
};

/// Sends and receives, each in the order given, both at once, and comes to its end on all ranks whatever goes wrong
/// with a file: what cannot be written is received all the same.  It cannot block for good when all files of all ranks
/// are in one order that the lists follow.  Uses the communicator alone; may run on a thread of its own.  IoError soon
/// after `abandon` is set: the communicator is of no more use then.
Exchanged exchange_files(comm::Communicator& ranks, std::span<const Outgoing> out, std::span<const Incoming> in,
                         const std::atomic<bool>& abandon);

}  // namespace banyan::job
