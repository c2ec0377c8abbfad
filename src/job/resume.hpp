// Which checkpoint a job continues from, and offering it to all ranks: the reading half of checkpoint.hpp.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.hpp"
#include "io/checkpoint_reader.hpp"
#include "io/manifest.hpp"
#include "io/run_store.hpp"
#include "src/base/section.hpp"

namespace banyan::job {

class LocalLevel;

/// What a load callback reads from.
class Source {
 public:
  explicit Source(io::CheckpointReader& reader)
      : manifest_(reader.manifest()), place_(reader.directory()), reader_(&reader) {}
  /// Reads nothing and leaves values as they are: notes the files, by their numbers in the manifest, that reading would
  /// touch.
  Source(const io::Manifest& manifest, std::filesystem::path place, std::set<int>& needed)
      : manifest_(manifest), place_(std::move(place)), needed_(&needed) {}
  const io::Manifest& manifest() const { return manifest_; }
  bool has(io::TensorKind kind, const std::string& name) const { return manifest_.find(kind, name) != nullptr; }
  /// Fills `out` with the values at `offset` of the logical tensor, whichever mesh wrote it.  ConfigError when the
  /// checkpoint, sound as it may be, has no such tensor of this dtype or no such place in it: it is another model's.
  void read_slab(io::TensorKind kind, const std::string& name, const Shape& offset, View out);

 private:
  const io::Manifest& manifest_;
  std::filesystem::path place_;
  io::CheckpointReader* reader_ = nullptr;
  std::set<int>* needed_ = nullptr;
};

/// One checkpoint that may be resumed.
struct Candidate {
  std::filesystem::path path;
  io::CheckpointId id;  ///< what BASE will record; the digest, when not empty, is what the manifest must have
  bool own = true;      ///< lies in this run directory, so that it may be marked BAD
  int holder = -1;      ///< of a node-local one (local_level.hpp): a rank whose node has its manifest
  bool local() const { return holder >= 0; }
};

/// The candidates of attempt `epoch`, best first; empty for a fresh start.  `resume` as in the config: auto | never |
/// PATH (a checkpoint, or a run directory whose newest is meant).  PATH says where this run starts: once the run has
/// commits that came from it, those are continued.  `local`: node-local ones of this run, which take their places among
/// the others.  ConfigError when the request and the run directory contradict each other.
std::vector<Candidate> resume_candidates(const io::RunStore& store, std::int64_t epoch, const std::string& resume,
                                         const std::vector<Candidate>& local = {});

/// Candidates for commands that only read: PATH is a checkpoint or a run directory.  ConfigError when there are none.
std::vector<Candidate> readable_candidates(const std::string& path);

/// Who reads where another job may train: it removes old checkpoints, also under a reader, and has newer ones by then.
/// Ask removed() about each that could not be read, and again() when a listing had none that could.
class Listings {
 public:
  /// Whether it is not there any more, which is told.
  bool removed(const Candidate& candidate);
  /// Whether to list once more: some of this listing were removed, and it was not the fifth one.
  bool again();
  /// The same on all ranks, by what rank 0 was told.  Collective.
  bool again(comm::Communicator& ranks);
  /// After the last listing: what to do about it, for the end of an error message; empty when nothing was removed.
  std::string advice() const;

 private:
  int listing_ = 1;
  bool some_removed_ = false, ended_by_removal_ = false;
};

struct Accepted {
  io::Manifest manifest;
  Candidate candidate;
};

/// Collective.  Offers the candidates (rank 0's list counts) one after the other; the first with which every rank's
/// `fill` succeeds is accepted.  `level`: fetches node-local ones; null where there are none.  `rejected` is called on
/// rank 0 for each that is damaged or unreadable.  Errors of `fill` other than DataError and IoError are thrown on all
/// ranks.  nullopt when none is left.
std::optional<Accepted> offer(
    comm::Communicator& ranks, LocalLevel* level, const std::vector<Candidate>& candidates, Seconds limit,
    const std::function<void(Source&)>& fill,
    const std::function<void(const Candidate&, bool damaged, const std::string& why)>& rejected);

}  // namespace banyan::job
