#include "src/job/checkpoint.hpp"

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "io/atomic_file.hpp"
#include "io/view_file.hpp"
#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/job/together.hpp"

namespace banyan::job {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr Seconds kStale{10};

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

/// Waits until this node sees what rank 0 has just made; false after a while.
bool comes_into_view(const fs::path& path) {
  for (const Clock::time_point start = Clock::now(); !io::path_exists(path);) {
    if (Seconds(Clock::now() - start) > kStale) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
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

/// A rank's part of the manifest on its way to rank 0.
std::string encode(const io::WrittenFile& written, std::span<const SaveTensor> tensors) {
  json shards = json::array();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const SaveTensor& t = tensors[i];
    const io::Shard& s = written.shards[i];
    json row = {t.name,     static_cast<int>(t.kind), static_cast<int>(t.data.dtype), s.byte_offset,
                s.checksum, t.global_shape.rank()};
    for (const Shape* shape : {&t.global_shape, &s.slab.offset, &s.slab.count})
      for (int a = 0; a < shape->rank(); ++a) row.push_back((*shape)[a]);
    shards.push_back(std::move(row));
  }
  return json{{"file", {written.file.name, written.file.size, written.file.digest}}, {"shards", std::move(shards)}}
      .dump();
}

/// Adds it.  Tensors are found by kind and name; all ranks must agree on dtype and shape.
void add_part(const std::string& text, io::Manifest& m,
              std::map<std::pair<io::TensorKind, std::string>, io::Tensor>& tensors) {
  if (text.empty()) return;
  const json part = json::parse(text);
  const int file = static_cast<int>(m.files.size());
  m.files.push_back({part["file"][0], part["file"][1], part["file"][2]});
  for (const json& row : part["shards"]) {
    const auto kind = static_cast<io::TensorKind>(row[1].get<int>());
    const auto dtype = static_cast<DType>(row[2].get<int>());
    const auto rank = row[5].get<std::size_t>();
    Shape parts[3];
    for (std::size_t k = 0; k < 3; ++k)
      for (std::size_t a = 0; a < rank; ++a) parts[k].push_back(row[6 + k * rank + a].get<std::int64_t>());
    auto [at, fresh] = tensors.try_emplace({kind, row[0].get<std::string>()});
    io::Tensor& t = at->second;
    if (fresh)
      t = {row[0].get<std::string>(), kind, dtype, parts[0], {}};
    else if (t.dtype != dtype || t.shape != parts[0])
      throw BugError("ranks disagree on the shape or dtype of {}", t.key());
    t.shards.push_back({file, row[3], {parts[1], parts[2]}, row[4]});
  }
}

io::Manifest make_manifest(io::Manifest m, const std::vector<std::string>& parts) {
  std::map<std::pair<io::TensorKind, std::string>, io::Tensor> tensors;
  for (const std::string& part : parts) add_part(part, m, tensors);
  for (auto& [key, t] : tensors) {
    std::sort(t.shards.begin(), t.shards.end(), [](const io::Shard& a, const io::Shard& b) {
      for (int i = 0; i < a.slab.offset.rank(); ++i)
        if (a.slab.offset[i] != b.slab.offset[i]) return a.slab.offset[i] < b.slab.offset[i];
      return false;
    });
    m.tensors.push_back(std::move(t));
  }
  return m;
}

}  // namespace

void require_shared(comm::Communicator& ranks, const std::string& run_dir) {
  const bool root = ranks.rank() == 0;
  const fs::path probe = fs::path(run_dir) / "shared-probe";
  std::string nonce;
  const Verdict made = run_together(ranks, "the run directory", Seconds(120), [&](const std::atomic<bool>&) {
    if (!root) return;
    try {
      io::make_directories(fs::absolute(run_dir).lexically_normal());
      nonce = io::LeaseOwner::self().nonce;
      io::write_atomic(probe, nonce);
    } catch (const IoError& e) {
      fs::path there = fs::absolute(run_dir);
      while (!there.empty() && !fs::exists(there) && there != there.parent_path()) there = there.parent_path();
      // Permission is the user's to give; anything else may pass.
      if (::access(there.c_str(), W_OK | X_OK) != 0 || !fs::is_directory(there))
        throw ConfigError("run.dir = {} cannot be used: {}", run_dir, e.what());
      throw;
    }
  });
  made.raise_if_failed();
  nonce = comm::broadcast_string(ranks, nonce, 0, "the check of the run directory");
  const Verdict seen =
      run_together(ranks, "the check of the run directory", Seconds(120), [&](const std::atomic<bool>&) {
        std::string found;
        for (const Clock::time_point start = Clock::now(); found != nonce;) {
          try {
            io::read_if_there(probe, 4096, found);
          } catch (const Error&) {  // judged by what was found
          }
          if (found == nonce) return;
          if (Seconds(Clock::now() - start) > kStale)
            throw ConfigError(
                "run.dir = {} is not shared: this rank does not see what rank 0 wrote there; put it on a file "
                "system that all nodes mount",
                run_dir);
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
      });
  if (root) or_warn("tidying the run directory", [&] { io::remove_tree(probe); });
  seen.raise_if_failed();
}

Checkpoints::Checkpoints(comm::Communicator& ranks, CheckpointOptions options)
    : ranks_(ranks), options_(std::move(options)), store_(fs::absolute(options_.run_dir).lexically_normal()) {
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
}

Checkpoints::~Checkpoints() = default;

std::optional<io::Manifest> Checkpoints::load(const std::function<void(Source&)>& fill) {
  if (base_recorded_) throw BugError("a run is loaded once");
  const bool root = ranks_.rank() == 0;
  std::vector<Candidate> candidates;
  std::string reasons;
  std::int64_t unreadable = 0;
  run_together(ranks_, "listing checkpoints", options_.io_limit, [&](const std::atomic<bool>&) {
    if (root) candidates = resume_candidates(store_, epoch_, options_.resume);
  }).raise_if_failed();
  const std::int64_t count =
      comm::all_reduce_value(ranks_, std::ssize(candidates), comm::ReduceOp::kMax, "the number of checkpoints");
  const std::optional<Accepted> accepted =
      offer(ranks_, candidates, options_.io_limit, fill, [&](const Candidate& c, bool damaged, const std::string& why) {
        log::error("CHECKPOINT NOT USED: {}", why);
        reasons += "; " + why;
        unreadable += !damaged;
        // An unreadable disk may recover; damaged bytes do not.
        if (damaged && c.own)
          or_warn("marking a damaged checkpoint", [&] { store_.mark_bad(c.path.filename().string(), why); });
      });
  if (!accepted && count > 0) {
    reasons = comm::broadcast_string(ranks_, reasons, 0, "why no checkpoint is usable");
    throw ConfigError(
        "none of the {} checkpoints this run could continue from is usable, and a fresh start would throw "
        "them away{}; name one with checkpoint.resume = PATH, or choose another run.dir",
        count, reasons);
  }
  run_together(ranks_, "recording the base checkpoint", options_.io_limit, [&](const std::atomic<bool>&) {
    if (!root) return;
    if (accepted) base_ = {accepted->candidate.id.name, accepted->manifest.digest};
    lease_->record_base(base_);
  }).raise_if_failed();
  base_recorded_ = true;
  if (!accepted) return std::nullopt;
  return accepted->manifest;
}

SaveResult Checkpoints::save(const SaveState& state, std::span<const SaveTensor> tensors) {
  if (!base_recorded_) throw BugError("load() decides what a run continues from; it must come before save()");
  const Clock::time_point start = Clock::now();
  const bool root = ranks_.rank() == 0;
  SaveResult result;
  result.name = io::checkpoint_name(state.step, epoch_);
  result.misses = misses_;
  const fs::path tmp = store_.tmp_of(result.name);

  std::vector<SaveTensor> mine;
  for (const SaveTensor& t : tensors)
    if (t.data.count() > 0) mine.push_back(t);
  const std::int64_t bytes = mine.empty() ? 0 : io::shard_file_bytes(mine);
  using comm::ReduceOp;
  const std::int64_t low = comm::all_reduce_value(ranks_, state.step, ReduceOp::kMin, "the step of the checkpoint");
  const std::int64_t high = comm::all_reduce_value(ranks_, state.step, ReduceOp::kMax, "the step of the checkpoint");
  if (low != high) throw BugError("ranks save different steps: {} to {}", low, high);
  result.bytes = comm::all_reduce_value(ranks_, bytes, ReduceOp::kSum, "the size of the checkpoint");
  if (state.step == committed_step_) {
    result.ok = true;
    return result;
  }

  io::Manifest head;
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
  head.versions = io::library_versions();

  auto failed = [&](const Verdict& verdict) {
    // All ranks have ended their work: nobody writes into the directory any more.
    run_together(ranks_, "removing an unfinished checkpoint", options_.io_limit, [&](const std::atomic<bool>&) {
      if (root) or_warn("removing an unfinished checkpoint", [&] { io::remove_tree(tmp); });
    });
    const auto code = static_cast<ExitCode>(verdict.first().code);
    if (code != ExitCode::kIoFailed && code != ExitCode::kBadData) verdict.raise();
    result.misses = ++misses_;
    result.error = verdict.first().message;
    result.seconds = Seconds(Clock::now() - start).count();
    return result;
  };
  auto require_lease = [&] {
    if (const std::string lost = lease_->lost(); !lost.empty()) throw RunHeldError("{}; this job must not write", lost);
  };

  // Reserve: directory and space.
  if (const Verdict v = run_together(ranks_, "preparing a checkpoint", options_.io_limit,
                                     [&](const std::atomic<bool>&) {
                                       if (!root) return;
                                       require_lease();
                                       io::make_directories(store_.ckpt_dir());
                                       io::remove_tree(tmp);
                                       if (!io::make_directory(tmp))
                                         throw IoError("cannot create {}: it is there again", tmp.string());
                                       const auto wanted =
                                           static_cast<std::int64_t>(static_cast<double>(result.bytes) * kHeadroom);
                                       if (const std::int64_t free = io::free_bytes(tmp); free < wanted)
                                         throw IoError("{} has {} bytes free, a checkpoint needs {}; free some space",
                                                       store_.ckpt_dir().string(), free, wanted);
                                     });
      !v.ok())
    return failed(v);

  // Write: one file for each rank that has something, durable when this returns.
  std::string part;
  if (const Verdict v = run_together(
          ranks_, "writing a checkpoint", options_.io_limit,
          [&](const std::atomic<bool>& cancel) {
            if (mine.empty()) return;
            if (!comes_into_view(tmp)) throw IoError("{} is not visible here although rank 0 made it", tmp.string());
            part = encode(io::write_shard_file(tmp, fmt::format("shard-{:05}.h5", ranks_.rank()), head, mine, &cancel),
                          mine);
            io::fsync_dir(tmp);
          });
      !v.ok())
    return failed(v);
  const std::vector<std::string> parts = gather_strings(ranks_, part, "the parts of the manifest");

  // Commit: manifest, then the rename that makes it count.
  if (const Verdict v = run_together(ranks_, "committing a checkpoint", options_.io_limit,
                                     [&](const std::atomic<bool>&) {
                                       if (!root) return;
                                       const io::Manifest manifest = make_manifest(std::move(head), parts);
                                       const std::string text = io::write_manifest(manifest);
                                       try {
                                         io::parse_manifest(text, "the manifest to be written");
                                       } catch (const DataError& e) {
                                         throw BugError("the slabs that the ranks gave do not make a checkpoint: {}",
                                                        e.what());
                                       }
                                       if (options_.view) add_view(tmp, manifest);
                                       io::write_atomic(tmp / io::kManifestName, text);
                                       require_lease();
                                       store_.commit(result.name);
                                       // From here on it is committed, whatever happens.
                                       or_warn("updating LATEST", [&] { store_.write_latest(result.name); });
                                       or_warn("removing old checkpoints", [&] {
                                         require_lease();
                                         store_.prune(epoch_, options_.keep);
                                       });
                                     });
      !v.ok())
    return failed(v);
  committed_step_ = state.step;
  misses_ = 0;
  result.misses = 0;
  result.ok = true;
  result.seconds = Seconds(Clock::now() - start).count();
  return result;
}

io::Manifest load_readonly(comm::Communicator& ranks, const std::string& path, Seconds io_limit,
                           const std::function<void(Source&)>& fill) {
  std::vector<Candidate> candidates;
  run_together(ranks, "listing checkpoints", io_limit, [&](const std::atomic<bool>&) {
    if (ranks.rank() == 0) candidates = readable_candidates(path);
  }).raise_if_failed();
  std::string reasons;
  const auto accepted = offer(ranks, candidates, io_limit, fill, [&](const Candidate&, bool, const std::string& why) {
    log::error("CHECKPOINT NOT USED: {}", why);
    reasons += "; " + why;
  });
  if (accepted) return accepted->manifest;
  reasons = comm::broadcast_string(ranks, reasons, 0, "why no checkpoint is usable");
  throw ConfigError("no checkpoint of {} is usable{}", path, reasons);
}

}  // namespace banyan::job
