#include "src/job/resume.hpp"

#include <algorithm>
#include <cstdint>
#include <thread>

#include "io/atomic_file.hpp"
#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/job/local_level.hpp"
#include "src/job/together.hpp"

namespace banyan::job {
namespace {

namespace fs = std::filesystem;

/// In the place of a path: a node-local checkpoint.
constexpr const char* kOnNodes = "nodes";
/// How long another node's directory cache may hide what rank 0 sees.
constexpr Seconds kStale{60};
/// How often a place is listed whose checkpoints are removed meanwhile.
constexpr int kListings = 5;

/// Waits until this node sees a file that rank 0 sees.
void wait_visible(const fs::path& path, const std::atomic<bool>& cancel) {
  const Clock::time_point start = Clock::now();
  while (!io::path_exists(path)) {
    if (cancel) throw IoError("reading was given up because another rank failed");
    if (Seconds(Clock::now() - start) > kStale)
      throw IoError("{} is not visible here although rank 0 sees it; the run directory must be shared", path.string());
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

std::vector<Candidate> chain_candidates(const io::RunStore& store, std::int64_t before, bool own,
                                        const std::vector<Candidate>& local) {
  std::vector<io::CheckpointId> ids;
  for (const Candidate& c : local) ids.push_back(c.id);
  std::vector<Candidate> all;
  for (io::CheckpointId& id : store.chain(before, ids)) {
    const auto on_nodes =
        std::find_if(local.begin(), local.end(), [&](const Candidate& c) { return c.id.name == id.name; });
    if (on_nodes != local.end()) {
      all.push_back(*on_nodes);
      all.back().id.digest = id.digest;
      continue;
    }
    if (store.is_bad(id.name)) {
      log::warning("skipping {}, which is marked BAD", store.path_of(id.name).string());
      continue;
    }
    Candidate c{store.path_of(id.name), id, own};
    if (!own) c.id.name = c.path.string();
    all.push_back(std::move(c));
  }
  return all;
}

/// Absolute and without dots and links, so that two spellings of a place compare equal.
fs::path settled(const fs::path& path) {
  fs::path p = fs::weakly_canonical(fs::absolute(path));
  return p.filename().empty() ? p.parent_path() : p;
}

}  // namespace

void Source::read_slab(io::TensorKind kind, const std::string& name, const Shape& offset, View out) {
  const std::string key = std::string(name_of(kind)) + "/" + name, place = place_.string();
  const io::Tensor* t = manifest().find(kind, name);
  if (!t) throw ConfigError("{} has no tensor {}; it belongs to another model than the config describes", place, key);
  if (t->dtype != out.dtype)
    throw ConfigError("{} holds {} as {}, the config asks for {}", place, key, name_of(t->dtype), name_of(out.dtype));
  bool inside = t->shape.rank() == offset.rank() && t->shape.rank() == out.shape.rank();
  for (int i = 0; inside && i < offset.rank(); ++i)
    inside = offset[i] >= 0 && out.shape[i] >= 0 && offset[i] <= t->shape[i] - out.shape[i];
  if (!inside)
    throw ConfigError("{} holds {} with shape {}, the config asks for offset {} count {}; it belongs to another model",
                      place, key, t->shape.str(), offset.str(), out.shape.str());
  if (reader_) return reader_->read(kind, name, offset, out);
  for (const io::Shard& shard : t->shards)
    if (io::intersect(shard.slab, {offset, out.shape}).elements() > 0) needed_->insert(shard.file);
}

std::vector<Candidate> readable_candidates(const std::string& path) {
  const fs::path place = settled(path);
  if (!fs::is_directory(place)) throw ConfigError("{} is no directory; give a checkpoint or a run directory", path);
  if (io::path_exists(place / io::kManifestName)) return {{place, {place.string(), ""}, false}};
  std::vector<Candidate> all = chain_candidates(io::RunStore(place), INT64_MAX, false, {});
  if (all.empty()) throw ConfigError("{} is neither a checkpoint nor a run directory with a usable one", path);
  return all;
}

bool Listings::removed(const Candidate& candidate) {
  // A node-local one is another node's, and nobody removes those beside this job.
  if (candidate.local() || io::path_exists(candidate.path / io::kManifestName)) return false;
  log::warning("{} was removed while it was read", candidate.path.string());
  some_removed_ = true;
  return true;
}

bool Listings::again() {
  ended_by_removal_ = some_removed_;
  some_removed_ = false;
  return ended_by_removal_ && listing_++ < kListings;
}

bool Listings::again(comm::Communicator& ranks) {
  const std::int64_t mine = some_removed_;
  some_removed_ = comm::all_reduce_value(ranks, mine, comm::ReduceOp::kMax, "whether checkpoints were removed") > 0;
  return again();
}

std::string Listings::advice() const {
  return ended_by_removal_ ? "; raise checkpoint.keep where it is trained, or copy one elsewhere" : "";
}

std::vector<Candidate> resume_candidates(const io::RunStore& store, std::int64_t epoch, const std::string& resume,
                                         const std::vector<Candidate>& local) {
  std::vector<std::string> present;
  for (const io::CheckpointEntry& entry : store.list())
    if (entry.state != io::CheckpointState::kTmp) present.push_back(entry.name);
  for (const Candidate& c : local) present.push_back(c.id.name);
  const std::string run = store.run_dir().string();

  if (resume == "never") {
    if (!present.empty())
      throw ConfigError("checkpoint.resume = never, but {} has checkpoints ({}); choose another run.dir, or resume",
                        run, present.front());
    return {};
  }
  std::vector<Candidate> chain = chain_candidates(store, epoch, true, local);
  if (resume == "auto") {
    if (chain.empty() && !present.empty())
      throw ConfigError(
          "{} has checkpoints ({}), but none that this run may continue from; name one with "
          "checkpoint.resume = PATH, or choose another run.dir",
          run, present.front());
    const auto newest = std::find_if(chain.begin(), chain.end(), [](const Candidate& c) { return !c.local(); });
    if (newest != chain.end() && store.latest() != newest->id.name)
      log::warning("LATEST of {} says '{}', the newest checkpoint is {}", run, store.latest(), newest->id.name);
    return chain;
  }

  const fs::path place = settled(resume);
  if (!fs::is_directory(place)) throw ConfigError("checkpoint.resume = {}: there is no such directory", resume);
  const bool own = settled(store.ckpt_dir()) == place.parent_path();
  const std::string start = own ? place.filename().string() : place.string();
  std::vector<io::CheckpointId> ids;
  for (const Candidate& c : local) ids.push_back(c.id);
  for (const io::CheckpointId& base : store.bases(epoch, ids)) {
    const bool from_there = base.name == start || (!own && base.name.starts_with(start + "/"));
    if (!chain.empty() && from_there && chain.front().id.name != base.name) {
      log::info("{} has already continued from {}; going on from {}", run, start, chain.front().id.name);
      return chain;
    }
  }
  if (own) {
    if (!chain.empty() && chain.front().id.name != start)
      log::warning("going back to {}; what {} had trained after it is left out", start, run);
    return {{place, {start, ""}, true}};
  }
  if (!present.empty())
    throw ConfigError(
        "checkpoint.resume = {}, but {} has checkpoints of its own ({}) that do not come from there; choose "
        "another run.dir, or checkpoint.resume = auto",
        resume, run, present.front());
  return readable_candidates(resume);
}

std::optional<Accepted> offer(comm::Communicator& ranks, LocalLevel* level, const std::vector<Candidate>& candidates,
                              Seconds limit, const std::function<void(Source&)>& fill,
                              const std::function<void(const Candidate&, bool, const std::string&)>& rejected) {
  const bool root = ranks.rank() == 0;
  std::size_t tried_again = SIZE_MAX;  // the candidate that got its second chance
  // Storage may fail once and then recover; damaged bytes stay damaged.
  auto second_chance = [&](std::size_t i, const std::string& why) {
    if (tried_again == i) return false;
    tried_again = i;
    log::warning("trying {} again: {}", candidates[i].path.string(), why);
    return true;
  };
  for (std::size_t next = 0;;) {
    // Rank 0 finds the next one whose manifest and files are sound; everyone gets its text.
    std::string place, text;
    run_together(ranks, "looking for a checkpoint", limit, [&](const std::atomic<bool>&) {
      while (root && next < candidates.size() && place.empty()) {
        const Candidate& c = candidates[next];
        if (c.local()) {
          place = kOnNodes;
          continue;
        }
        try {
          io::CheckpointReader reader(c.path);
          if (!c.id.digest.empty() && reader.manifest().digest != c.id.digest)
            throw DataError("{} was replaced: its manifest has digest {}, the attempt that continued from it saw {}",
                            c.path.string(), reader.manifest().digest, c.id.digest);
          text = io::write_manifest(reader.manifest());
          place = c.path.string();
        } catch (const DataError& e) {
          rejected(c, true, e.what());
          ++next;
        } catch (const IoError& e) {
          if (second_chance(next, e.what())) continue;
          rejected(c, false, e.what());
          ++next;
        }
      }
    }).raise_if_failed();
    place = comm::broadcast_string(ranks, place, 0, "the place of the checkpoint");
    if (place.empty()) return std::nullopt;
    io::Manifest manifest;
    if (place == kOnNodes) {
      LocalLevel::Fetched fetched = level->fetch(root ? candidates[next] : Candidate{}, fill);
      if (!fetched.problem.empty()) {
        if (root) rejected(candidates[next], true, fetched.problem);
        ++next;
        continue;
      }
      manifest = std::move(fetched.manifest);
      place = fetched.directory.string();
    } else {
      text = comm::broadcast_string(ranks, text, 0, "the manifest of the checkpoint");
      manifest = io::parse_manifest(text, place + "/" + io::kManifestName);
    }

    const Verdict verdict = run_together(ranks, "loading " + place, limit, [&](const std::atomic<bool>& cancel) {
      // What is not here as rank 0 has found it is late, not damaged.
      wait_visible(place, cancel);
      wait_visible(fs::path(place) / io::kManifestName, cancel);
      io::CheckpointReader reader(place, manifest);
      reader.set_cancel(&cancel);
      if (!root) reader.set_patience(kStale);
      Source source(reader);
      fill(source);
    });
    if (verdict.ok()) return Accepted{std::move(manifest), root ? candidates[next] : Candidate{}};
    bool damaged = false;
    for (const Outcome& o : verdict.outcomes) {
      const auto code = static_cast<ExitCode>(o.code);
      damaged |= code == ExitCode::kBadData;
      if (o.code > 0 && code != ExitCode::kBadData && code != ExitCode::kIoFailed) verdict.raise();
    }
    const std::string& why = verdict.first().message;
    if (!root || (!damaged && second_chance(next, why))) continue;
    rejected(candidates[next], damaged, why);
    ++next;
  }
}

}  // namespace banyan::job
