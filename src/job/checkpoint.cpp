#include "src/job/checkpoint.hpp"

#include <algorithm>
#include <utility>

#include "io/atomic_file.hpp"
#include "io/snapshot.hpp"
#include "io/view_file.hpp"
#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/base/signals.hpp"
#include "src/job/manifest_parts.hpp"
#include "src/job/save.hpp"
#include "src/job/shared_dir.hpp"

namespace banyan::job {
namespace {

namespace fs = std::filesystem;

/// Free space asked for beyond what is written, for metadata and the neighbours.
constexpr double kHeadroom = 1.1;

/// Calls `step`; a failure is only told.  For what comes after a commit: it cannot undo it.
template <class Step>
void or_warn(const char* what, const Step& step) {
  try {
    step();
  } catch (const Error& e) {
    log::warning("{}: {}", what, e.what());
  }
}

/// view.h5, unless it would hold training up: HDF5 takes some 50 us for each slab.
void add_view(const fs::path& directory, const io::Manifest& manifest) {
  constexpr std::size_t kMostShards = 20000;
  std::size_t shards = 0;
  for (const io::Tensor& t : manifest.tensors) shards += t.shards.size();
  if (shards > kMostShards)
    log::debug("no view.h5 over {} shards; banyan inspect --merge makes one file of whole tensors", shards);
  else
    or_warn("writing view.h5", [&] { io::write_view(directory, manifest); });
}

/// Whether a committed checkpoint may be counted on, as far as can be seen without reading it all.
bool looks_whole(const fs::path& directory) {
  try {
    const io::CheckpointReader reader(directory);
    return true;
  } catch (const Error& e) {
    log::warning("not counted among the checkpoints that are kept: {}", e.what());
    return false;
  }
}

}  // namespace

Checkpoints::Checkpoints(comm::Communicator& ranks, CheckpointOptions options)
    : ranks_(ranks),
      options_(std::move(options)),
      store_(fs::absolute(options_.run_dir).lexically_normal()),
      copy_(std::make_shared<io::Snapshot>()) {
  require_shared(ranks_, options_.run_dir);
  run_together(ranks_, "the lease of " + options_.run_dir, options_.io_limit, [&](const std::atomic<bool>&) {
    if (ranks_.rank() != 0) return;
    lease_ = std::make_unique<io::Lease>(store_.run_dir(), options_.lease);
    io::make_directories(store_.ckpt_dir());
    or_warn("tidying the run directory", [&] { store_.sweep(lease_->epoch()); });
  }).raise_if_failed();
  const std::string mine = lease_ ? std::to_string(lease_->epoch()) + " " + lease_->run_uuid() : "";
  const std::string all = comm::broadcast_string(ranks_, mine, 0, "the epoch of the run");
  const std::size_t space = all.find(' ');
  epoch_ = std::stoll(all.substr(0, space));
  run_uuid_ = all.substr(space + 1);
  if (!options_.local.directory.empty())
    level_ =
        std::make_shared<LocalLevel>(ranks_, options_.local, store_.run_dir(), run_uuid_, epoch_, options_.io_limit);
}

Checkpoints::~Checkpoints() {
  if (level_) level_->abandon();
}

std::optional<io::Manifest> Checkpoints::load(const std::function<void(Source&)>& fill) {
  if (base_recorded_) throw BugError("a run is loaded once");
  const bool root = ranks_.rank() == 0;
  std::vector<Candidate> on_nodes;
  if (level_) on_nodes = level_->candidates();
  std::optional<Accepted> accepted;
  std::int64_t count = 0;
  std::string reasons;
  Listings listings;
  do {
    std::vector<Candidate> candidates;
    run_together(ranks_, "listing checkpoints", options_.io_limit, [&](const std::atomic<bool>&) {
      if (root) candidates = resume_candidates(store_, epoch_, options_.resume, on_nodes);
    }).raise_if_failed();
    count = comm::all_reduce_value(ranks_, std::ssize(candidates), comm::ReduceOp::kMax, "the number of checkpoints");
    accepted =
        offer(ranks_, level_.get(), candidates, options_.io_limit, fill,
              [&](const Candidate& c, bool damaged, const std::string& why) {
                reasons += "; " + why;
                // Nobody but this job removes anything here; where another run trains it may.
                if (!c.own && listings.removed(c)) return;
                log::error("CHECKPOINT NOT USED: {}", why);
                // An unreadable disk may recover; damaged bytes do not.
                if (damaged && c.own)
                  or_warn("marking a damaged checkpoint", [&] { store_.mark_bad(c.path.filename().string(), why); });
              });
  } while (!accepted && listings.again(ranks_));
  if (!accepted && count > 0) {
    reasons = comm::broadcast_string(ranks_, reasons, 0, "why no checkpoint is usable");
    throw ConfigError(
        "none of the {} checkpoints this run could continue from is usable, and a fresh start would throw "
        "them away{}; name one with checkpoint.resume = PATH, or choose another run.dir{}",
        count, reasons, listings.advice());
  }
  run_together(ranks_, "recording the base checkpoint", options_.io_limit, [&](const std::atomic<bool>&) {
    if (!root) return;
    if (accepted) base_ = {accepted->candidate.id.name, accepted->manifest.digest};
    lease_->record_base(base_);
  }).raise_if_failed();
  base_recorded_ = true;
  if (!accepted) return std::nullopt;
  if (root && accepted->candidate.local())
    log::info("continuing from {} on the nodes", io::without_level(accepted->candidate.id.name));
  return accepted->manifest;
}

std::shared_ptr<Save> Checkpoints::describe(const SaveState& state, std::span<const SaveTensor> tensors, Level level) {
  if (!base_recorded_) throw BugError("load() decides what a run continues from; it must come before a save");
  if (in_flight()) throw BugError("a checkpoint is saved while another is on its way");
  const bool on_nodes = level == Level::kNodes;
  if (on_nodes && !local()) throw BugError("a node-local checkpoint where there are none");
  if (!on_nodes && in_drain()) throw BugError("a checkpoint is saved while another is copied to the same place");
  auto s = std::make_shared<Save>();
  s->level = level;
  s->result.name = io::checkpoint_name(state.step, epoch_);
  s->result.misses = on_nodes ? misses_there_ : misses_;
  s->tmp = on_nodes ? level_->tmp_of(s->result.name) : store_.tmp_of(s->result.name);
  s->file = fmt::format("shard-{:05}.h5", ranks_.rank());
  s->verify = options_.verify;
  for (const SaveTensor& t : tensors)
    if (t.data.count() > 0) s->mine.push_back(t);
  const std::int64_t bytes = s->mine.empty() ? 0 : io::shard_file_bytes(s->mine);
  using comm::ReduceOp;
  const std::int64_t low = comm::all_reduce_value(ranks_, state.step, ReduceOp::kMin, "the step of the checkpoint");
  const std::int64_t high = comm::all_reduce_value(ranks_, state.step, ReduceOp::kMax, "the step of the checkpoint");
  if (low != high) throw BugError("ranks save different steps: {} to {}", low, high);
  s->result.bytes = comm::all_reduce_value(ranks_, bytes, ReduceOp::kSum, "the size of the checkpoint");
  s->bytes = bytes;
  s->result.ok = state.step == committed_step_ || (on_nodes && state.step == committed_there_);

  io::Manifest& head = s->head;
  head.run_uuid = run_uuid_;
  head.epoch = epoch_;
  head.step = state.step;
  head.tokens = state.tokens;
  head.cursor = state.cursor;
  head.base = base_;
  head.model_hash = state.model_hash;
  head.config_text = state.config_text;
  head.mesh_text = state.mesh_text;
  head.plans_text = state.plans_text;
  head.extra = state.extra;
  if (on_nodes) head.extra[io::kLevel] = io::kLocalLevel;
  head.versions = io::library_versions();
  return s;
}

void Checkpoints::require_lease() const {
  if (const std::string lost = lease_->lost(); !lost.empty()) throw RunHeldError("{}; this job must not write", lost);
}

Verdict Checkpoints::reserve(const Save& s) {
  if (s.level == Level::kNodes)
    return level_->reserve(s, [&] {
      if (ranks_.rank() == 0) require_lease();
    });
  return run_together(ranks_, "preparing a checkpoint", options_.io_limit, [&](const std::atomic<bool>&) {
    if (ranks_.rank() != 0) return;
    require_lease();
    if (tidying_ && !tidying_->wait(options_.io_limit)) throw IoError("removing old checkpoints does not end");
    tidying_.reset();
    io::make_directories(store_.ckpt_dir());
    io::remove_tree(s.tmp);
    if (!io::make_directory(s.tmp)) throw IoError("cannot create {}: it is there again", s.tmp.string());
    const auto wanted = static_cast<std::int64_t>(static_cast<double>(s.result.bytes) * kHeadroom);
    if (const std::int64_t free = io::free_bytes(s.tmp); free < wanted)
      throw IoError("{} has {} bytes free, a checkpoint needs {}; free some space", store_.ckpt_dir().string(), free,
                    wanted);
  });
}

Verdict Checkpoints::write(const std::shared_ptr<Save>& s) {
  return run_together(ranks_, "writing a checkpoint", options_.io_limit,
                      [s, level = level_](const std::atomic<bool>& cancel) {
                        if (s->level == Level::kNodes)
                          level->write(*s, cancel);
                        else
                          s->write(cancel);
                      });
}

/// Manifest, then the rename that makes it count.
Verdict Checkpoints::commit(const Save& s) {
  const std::vector<std::string> parts = gather_strings(ranks_, s.part, "the parts of the manifest");
  std::string text;
  const Verdict verdict =
      run_together(ranks_, "committing a checkpoint", options_.io_limit, [&](const std::atomic<bool>&) {
        if (ranks_.rank() != 0) return;
        const io::Manifest manifest = join_parts(s.head, parts);
        text = io::write_manifest(manifest);
        try {
          io::parse_manifest(text, "the manifest to be written");
        } catch (const DataError& e) {
          throw BugError("the slabs that the ranks gave do not make a checkpoint: {}", e.what());
        }
        if (s.level == Level::kNodes)
          require_lease();
        else
          commit_to_run_dir(s, manifest, text);
      });
  return s.level == Level::kNodes && verdict.ok() ? level_->commit(s, text) : verdict;
}

/// Rank 0.
void Checkpoints::commit_to_run_dir(const Save& s, const io::Manifest& manifest, const std::string& text) {
  if (options_.view && signals::stop_requests() < signals::kHurry) add_view(s.tmp, manifest);
  io::write_atomic(s.tmp / io::kManifestName, text);
  require_lease();
  store_.commit(s.result.name);
  // From here on it is committed, whatever happens.
  or_warn("updating LATEST", [&] { store_.write_latest(s.result.name); });
  or_warn("removing old checkpoints", [&] {
    require_lease();
    const auto prune = [store = store_, epoch = epoch_, keep = options_.keep](const std::atomic<bool>&) {
      or_warn("removing old checkpoints", [&] {
        store.prune(epoch, keep, [&](const std::string& name) { return looks_whole(store.path_of(name)); });
      });
    };
    // Nobody waits for what was written in the background, so nobody shall wait for this.
    if (s.background)
      tidying_ = std::make_unique<Task>(prune);
    else
      prune({});
  });
}

SaveResult Checkpoints::committed(const std::shared_ptr<Save>& s) {
  const bool on_nodes = s->level == Level::kNodes;
  if (on_nodes) newest_there_ = s;
  (on_nodes ? committed_there_ : committed_step_) = s->head.step;
  (on_nodes ? misses_there_ : misses_) = 0;
  s->result.misses = 0;
  s->result.ok = true;
  return s->result;
}

void Checkpoints::discard(const Save& s) {
  if (s.level == Level::kNodes) return level_->discard(s);
  // All ranks have ended their work: nobody writes into the directory any more.
  run_together(ranks_, "removing an unfinished checkpoint", options_.io_limit, [&](const std::atomic<bool>&) {
    if (ranks_.rank() == 0) or_warn("removing an unfinished checkpoint", [&] { io::remove_tree(s.tmp); });
  });
}

SaveResult Checkpoints::missed(Save& s, const Verdict& verdict) {
  discard(s);
  if (!of_storage(verdict)) verdict.raise();
  s.result.misses = ++(s.level == Level::kNodes ? misses_there_ : misses_);
  s.result.error = verdict.first().message;
  s.result.seconds = Seconds(Clock::now() - s.start).count();
  return s.result;
}

SaveResult Checkpoints::save(const SaveState& state, std::span<const SaveTensor> tensors, Level level) {
  const std::shared_ptr<Save> s = describe(state, tensors, level);
  if (s->result.ok) return s->result;
  if (const Verdict v = reserve(*s); !v.ok()) return missed(*s, v);
  if (const Verdict v = write(s); !v.ok()) return missed(*s, v);
  if (const Verdict v = commit(*s); !v.ok()) return missed(*s, v);
  s->result.seconds = Seconds(Clock::now() - s->start).count();
  return committed(s);
}

void Checkpoints::leave_in_order() {
  if (level_) level_->leave();
}

io::Manifest load_readonly(comm::Communicator& ranks, const std::string& path, Seconds io_limit,
                           const std::function<void(Source&)>& fill) {
  std::string reasons;
  Listings listings;
  do {
    std::vector<Candidate> candidates;
    run_together(ranks, "listing checkpoints", io_limit, [&](const std::atomic<bool>&) {
      if (ranks.rank() == 0) candidates = readable_candidates(path);
    }).raise_if_failed();
    const auto accepted =
        offer(ranks, nullptr, candidates, io_limit, fill, [&](const Candidate& c, bool, const std::string& why) {
          reasons += "; " + why;
          if (!listings.removed(c)) log::error("CHECKPOINT NOT USED: {}", why);
        });
    if (accepted) return accepted->manifest;
  } while (listings.again(ranks));
  reasons = comm::broadcast_string(ranks, reasons, 0, "why no checkpoint is usable");
  throw ConfigError("no checkpoint of {} is usable{}{}", path, reasons, listings.advice());
}

}  // namespace banyan::job
