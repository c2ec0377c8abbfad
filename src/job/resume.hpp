// Which checkpoint a job continues from, and offering it to all ranks: the reading half of checkpoint.hpp.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "io/checkpoint_reader.hpp"
#include "io/manifest.hpp"
#include "io/run_store.hpp"
#include "src/base/section.hpp"

namespace banyan::job {

/// What a load callback reads from.
class Source {
 public:
  explicit Source(io::CheckpointReader& reader) : reader_(reader) {}
  const io::Manifest& manifest() const { return reader_.manifest(); }
  bool has(io::TensorKind kind, const std::string& name) const { return reader_.has(kind, name); }
  /// Fills `out` with the values at `offset` of the logical tensor, whichever mesh wrote it.  ConfigError when the
  /// checkpoint, sound as it may be, has no such tensor of this dtype or no such place in it: it is another model's.
  void read_slab(io::TensorKind kind, const std::string& name, const Shape& offset, View out);

 private:
  io::CheckpointReader& reader_;
};

/// One checkpoint that may be resumed.
struct Candidate {
  std::filesystem::path path;
  io::CheckpointId id;  ///< what BASE will record; the digest, when not empty, is what the manifest must have
  bool own = true;      ///< lies in this run directory, so that it may be marked BAD
};

/// The candidates of attempt `epoch`, best first; empty for a fresh start.  `resume` as in the config: auto | never |
/// PATH (a checkpoint, or a run directory whose newest is meant).  PATH says where this run starts: once the run has
/// commits that came from it, those are continued.  ConfigError when the request and the run directory contradict each
/// other.
std::vector<Candidate> resume_candidates(const io::RunStore& store, std::int64_t epoch, const std::string& resume);

/// Candidates for commands that only read: PATH is a checkpoint or a run directory.  ConfigError when there are none.
std::vector<Candidate> readable_candidates(const std::string& path);

/// How often who only reads asks for candidates: a training that goes on removes old checkpoints, also under a reader.
inline constexpr int kListings = 5;
/// Whether it is not there any more; newer ones are, if it lies in a run directory.
bool removed_meanwhile(const Candidate& candidate);

struct Accepted {
  io::Manifest manifest;
  Candidate candidate;
};

/// Collective.  Offers the candidates (rank 0's list counts) one after the other; the first with which every rank's
/// `fill` succeeds is accepted.  `rejected` is called on rank 0 for each that is damaged or unreadable.  Errors of
/// `fill` other than DataError and IoError are thrown on all ranks.  nullopt when none is left.
std::optional<Accepted> offer(
    comm::Communicator& ranks, const std::vector<Candidate>& candidates, Seconds limit,
    const std::function<void(Source&)>& fill,
    const std::function<void(const Candidate&, bool damaged, const std::string& why)>& rejected);

}  // namespace banyan::job
