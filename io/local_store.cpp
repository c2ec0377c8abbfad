#include "io/local_store.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

#include "src/base/error.hpp"

namespace banyan::io {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "banyan-";
constexpr const char *kRun = "RUN", *kNode = "NODE", *kLock = "LOCK";
constexpr std::size_t kSmallFile = 64 << 10;
constexpr mode_t kPrivate = 0700;
constexpr int kLockAttempts = 20;
constexpr std::chrono::milliseconds kLockPause{50};

std::string reason(int error) { return std::generic_category().message(error); }

/// "" for a directory that this user alone can look into; otherwise a sentence.
std::string not_private(const fs::path& path) {
  struct stat s {};
  if (::lstat(path.c_str(), &s) != 0) return fmt::format("cannot inspect {}: {}", path.string(), reason(errno));
  if (!S_ISDIR(s.st_mode)) return fmt::format("{} is not a directory", path.string());
  if (s.st_uid != ::geteuid() || (s.st_mode & 077) != 0)
    return fmt::format("{} belongs to user {} with mode {:o}, it must be this user's alone; remove it", path.string(),
                       s.st_uid, s.st_mode & 07777);
  return "";
}

/// Opens and locks PATH/LOCK; an empty File when somebody else holds it in a way that excludes `how`.
File lock(const fs::path& directory, int how) {
  const fs::path path = directory / kLock;
  File file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), path);
  if (!file) throw IoError("cannot open {}: {}", path.string(), reason(errno));
  if (::flock(file.fd(), how | LOCK_NB) == 0) return file;
  if (errno != EWOULDBLOCK) throw IoError("cannot lock {}: {}", path.string(), reason(errno));
  return {};
}

std::pair<std::int64_t, std::int64_t> age(const CheckpointEntry& e) { return {e.epoch, e.step}; }

/// Committed ones, newest attempt first, then newest step first.
std::vector<CheckpointEntry> committed(const RunStore& store) {
  std::vector<CheckpointEntry> all;
  for (const CheckpointEntry& e : store.list())
    if (e.state != CheckpointState::kTmp) all.push_back(e);
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return age(a) > age(b); });
  return all;
}

/// Whether what lies there is of no use to its run any more.  The caller has its lock.
bool is_left_over(const fs::path& directory) {
  std::string text;
  if (!read_if_there(directory / kRun, kSmallFile, text)) return false;
  if (!text.empty() && text.back() == '\n') text.pop_back();
  const fs::path run_dir = text;
  if (!run_dir.is_absolute()) return false;
  // A file system that is not mounted has not lost the run.
  if (!is_run_dir(run_dir)) return fs::is_directory(run_dir.parent_path());
  const std::vector<CheckpointEntry> here = committed(RunStore(directory)), there = committed(RunStore(run_dir));
  if (here.empty()) return true;
  return std::any_of(there.begin(), there.end(), [&](const CheckpointEntry& e) {
    return e.epoch >= here.front().epoch && e.step >= here.front().step;
  });
}

}  // namespace

LocalStore::LocalStore(fs::path local, const std::string& run_uuid)
    : local_(std::move(local)), run_uuid_(run_uuid), store_(local_ / (std::string(kPrefix) + run_uuid)) {
  if (!plain_name(run_uuid)) throw DataError("'{}' cannot be the name of a run", run_uuid);
}

void LocalStore::open(const fs::path& run_dir, std::int64_t epoch) {
  // Not made: where a disk is not mounted, its place would fill up another one.
  if (!fs::is_directory(local_)) throw IoError("{} is no directory on this node", local_.string());
  // Another job may be looking whether it can be removed, and remove it.
  for (int attempt = 0; !lock_ || !path_exists(lock_.path()); ++attempt) {
    if (attempt == kLockAttempts) throw IoError("{} is locked by another job", directory().string());
    if (attempt > 0) std::this_thread::sleep_for(kLockPause);
    if (::mkdir(directory().c_str(), kPrivate) != 0 && errno != EEXIST)
      throw IoError("cannot create directory {}: {}", directory().string(), reason(errno));
    if (const std::string problem = not_private(directory()); !problem.empty()) throw DataError("{}", problem);
    // Shared: of a job that was killed, a process may still be on its way out.
    lock_ = lock(directory(), LOCK_SH);
  }
  write_atomic(directory() / kRun, run_dir.string() + "\n");
  make_directories(store_.ckpt_dir());
  for (const CheckpointEntry& e : store_.list())
    if (e.state == CheckpointState::kTmp && e.epoch < epoch) remove_tree(store_.tmp_of(e.name));
  store_.empty_trash();
}

void LocalStore::sign(const std::string& word) const { write_atomic(directory() / kNode, word); }

bool LocalStore::shares(const std::string& word) const {
  std::string found;
  return read_if_there(directory() / kNode, kSmallFile, found) && found != word;
}

Manifest LocalStore::manifest(const std::string& name) const {
  const fs::path path = store_.path_of(name) / kManifestName;
  Manifest m = parse_manifest(read_limited(path, kManifestLimit), path.string());
  const auto level = m.extra.find(kLevel);
  if (m.run_uuid != run_uuid_ || checkpoint_name(m.step, m.epoch) != name || level == m.extra.end() ||
      level->second != kLocalLevel)
    throw DataError("{} is of step {} epoch {} of run {}; somebody mixed up directories", path.string(), m.step,
                    m.epoch, m.run_uuid);
  return m;
}

std::vector<LocalHolding> LocalStore::holdings(std::vector<std::string>& problems) const {
  std::vector<LocalHolding> all;
  for (const CheckpointEntry& e : committed(store_)) try {
      const Manifest m = manifest(e.name);
      LocalHolding held{{e.name, m.digest}, e.step, e.epoch, std::ssize(m.files)};
      const File here = File::open_directory(store_.path_of(e.name));
      for (std::int64_t i = 0; i < std::ssize(m.files); ++i) {
        const ManifestFile& file = m.files[static_cast<std::size_t>(i)];
        if (!path_exists(here.path() / file.name)) continue;  // another node's
        try {
          if (const std::int64_t size = File::open_for_reading_at(here, file.name).size(); size != file.size)
            throw DataError("{} has {} bytes, the manifest says {}", (here.path() / file.name).string(), size,
                            file.size);
          held.files.push_back(i);
        } catch (const Error& error) {
          problems.emplace_back(error.what());
        }
      }
      all.push_back(std::move(held));
    } catch (const Error& error) {
      problems.emplace_back(error.what());
    }
  return all;
}

void LocalStore::prune(std::int64_t epoch, int keep, const std::string& spared) const {
  int kept = 0;
  for (const CheckpointEntry& e : committed(store_))
    if (e.epoch <= epoch && kept++ >= keep && e.name != spared) store_.discard(e.name);
  store_.empty_trash();
}

void LocalStore::remove() const {
  if (lock_) remove_tree(directory());
}

std::vector<std::string> LocalStore::sweep_others() const {
  std::vector<std::string> removed;
  std::error_code error;
  for (fs::directory_iterator i(local_, error), end; !error && i != end; i.increment(error)) {
    const fs::path path = i->path();
    const std::string name = path.filename().string();
    if (!name.starts_with(kPrefix) || path == directory() || !not_private(path).empty()) continue;
    try {
      const File alone = lock(path, LOCK_EX);
      if (!alone || !is_left_over(path)) continue;
      remove_tree(path);
      removed.push_back(name);
    } catch (const Error&) {  // another's; its own job will say so
    }
  }
  std::sort(removed.begin(), removed.end());
  return removed;
}

bool in_memory(const fs::path& directory) {
  struct statfs s {};
  return ::statfs(directory.c_str(), &s) == 0 && (s.f_type == TMPFS_MAGIC || s.f_type == RAMFS_MAGIC);
}

}  // namespace banyan::io
