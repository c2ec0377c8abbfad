#include "io/run_store.hpp"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <system_error>

#include "io/atomic_file.hpp"
#include "io/lease.hpp"
#include "src/base/error.hpp"

namespace banyan::io {
namespace {

constexpr std::string_view kTmp = ".tmp", kBad = ".BAD", kTrash = ".trash-", kLocal = "local/";
constexpr std::size_t kSmallFile = 64 << 10;

/// Digits without superfluous zeros up to `width` digits; false otherwise.
bool parse_number(std::string_view text, std::size_t width, std::int64_t& value) {
  if (text.size() < width || text.size() > 18 || text.empty()) return false;
  if (text.size() > width && text[0] == '0') return false;
  value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + (c - '0');
  }
  return true;
}

std::vector<std::string> names_in(const std::filesystem::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  if (error && error != std::errc::no_such_file_or_directory)
    throw IoError("cannot list {}: {}", directory.string(), error.message());
  return names;
}

bool newer(const CheckpointEntry& a, const CheckpointEntry& b) {
  return std::pair(a.step, a.epoch) > std::pair(b.step, b.epoch);
}

/// The walk behind chain() and bases(): newest attempt first.
struct History {
  std::vector<CheckpointId> checkpoints, bases;
};

/// What attempt `epoch` started from: its lease, or, when that is gone or damaged, the manifest of one of its commits.
std::optional<CheckpointId> base_of(const RunStore& store, std::int64_t epoch,
                                    const std::vector<CheckpointEntry>& own) {
  if (auto base = lease_base(store.run_dir(), epoch)) return base;
  for (const CheckpointEntry& entry : own) {
    try {
      const std::filesystem::path path = store.path_of(entry.name) / kManifestName;
      return parse_manifest(read_limited(path, kManifestLimit), path.string()).base;
    } catch (const Error&) {  // the next one may be readable
    }
  }
  return std::nullopt;
}

History walk(const RunStore& store, std::int64_t before, std::span<const CheckpointId> local) {
  std::map<std::int64_t, std::vector<CheckpointEntry>> by_epoch;
  std::map<std::string, std::string> local_digests;
  std::set<std::int64_t, std::greater<>> epochs;
  for (const CheckpointEntry& entry : store.list())
    if (entry.state != CheckpointState::kTmp && entry.epoch < before) by_epoch[entry.epoch].push_back(entry);
  for (const CheckpointId& id : local) {
    CheckpointEntry entry{.name = id.name};
    if (!parse_checkpoint_name(without_level(id.name), entry.step, entry.epoch) || entry.epoch >= before) continue;
    by_epoch[entry.epoch].push_back(entry);
    local_digests[id.name] = id.digest;
  }
  for (auto& [epoch, entries] : by_epoch) std::stable_sort(entries.begin(), entries.end(), newer);
  for (const auto& [epoch, entries] : by_epoch) epochs.insert(epoch);
  for (std::int64_t epoch : lease_epochs(store.run_dir()))
    if (epoch < before) epochs.insert(epoch);

  // The newest attempt that left something to continue from.  One that accepted no base committed nothing; one that
  // started fresh and committed nothing did nothing.
  History history;
  std::int64_t epoch = 0;
  for (std::int64_t e : epochs) {
    const auto base = base_of(store, e, by_epoch[e]);
    if (!by_epoch[e].empty() || (base && !base->name.empty())) {
      epoch = e;
      break;
    }
  }
  std::int64_t limit = INT64_MAX;
  std::string pinned_name, pinned_digest;
  while (epoch > 0) {
    for (const CheckpointEntry& entry : by_epoch[epoch])
      if (entry.step <= limit)
        history.checkpoints.push_back(
            {entry.name, entry.name == pinned_name ? pinned_digest : local_digests[entry.name]});
    const auto base = base_of(store, epoch, by_epoch[epoch]);
    if (!base) break;
    history.bases.push_back(*base);
    std::int64_t next = 0;
    // A base of another run (a path) or none at all ends the history of this run directory.
    if (!parse_checkpoint_name(without_level(base->name), limit, next) || next >= epoch) break;
    pinned_name = base->name;
    pinned_digest = base->digest;
    epoch = next;
  }
  return history;
}

}  // namespace

std::string checkpoint_name(std::int64_t step, std::int64_t epoch) {
  return fmt::format("step-{:09}.e{}", step, epoch);
}

std::string local_name(const std::string& name) { return std::string(kLocal) + name; }

std::string without_level(const std::string& name) {
  return name.starts_with(kLocal) ? name.substr(kLocal.size()) : name;
}

bool is_run_dir(const std::filesystem::path& path) {
  for (const char* folder : {"ckpt", "lease", "causes"})
    if (std::filesystem::is_directory(path / folder)) return true;
  return false;
}

bool parse_checkpoint_name(const std::string& name, std::int64_t& step, std::int64_t& epoch) {
  std::string_view rest = name;
  if (!rest.starts_with("step-")) return false;
  rest.remove_prefix(5);
  const std::size_t dot = rest.find(".e");
  if (dot == std::string_view::npos) return false;
  std::int64_t s = 0, e = 0;
  if (!parse_number(rest.substr(0, dot), 9, s) || !parse_number(rest.substr(dot + 2), 1, e) || e < 1) return false;
  step = s;
  epoch = e;
  return true;
}

std::vector<CheckpointEntry> RunStore::list() const {
  std::vector<CheckpointEntry> entries;
  const std::vector<std::string> names = names_in(ckpt_dir());
  const std::set<std::string> all(names.begin(), names.end());
  for (const std::string& name : names) {
    CheckpointEntry entry;
    entry.name = name;
    if (std::string_view(name).ends_with(kTmp)) {
      entry.name.resize(name.size() - kTmp.size());
      entry.state = CheckpointState::kTmp;
    } else if (all.contains(name + std::string(kBad))) {
      entry.state = CheckpointState::kBad;
    }
    if (parse_checkpoint_name(entry.name, entry.step, entry.epoch)) entries.push_back(entry);
  }
  std::sort(entries.begin(), entries.end(), newer);
  return entries;
}

std::vector<CheckpointId> RunStore::chain(std::int64_t before, std::span<const CheckpointId> local) const {
  return walk(*this, before, local).checkpoints;
}
std::vector<CheckpointId> RunStore::bases(std::int64_t before, std::span<const CheckpointId> local) const {
  return walk(*this, before, local).bases;
}

bool RunStore::is_bad(const std::string& name) const { return path_exists(path_of(name + std::string(kBad))); }

void RunStore::mark_bad(const std::string& name, const std::string& reason) const {
  write_atomic(path_of(name + std::string(kBad)), reason + "\n");
}

void RunStore::commit(const std::string& name) const {
  // rename(2) would replace an empty directory; nothing of ours ever reuses a name, so a name that is there is an
  // error.
  if (path_exists(path_of(name))) throw IoError("{} is there already; another job wrote it", path_of(name).string());
  rename_path(tmp_of(name), path_of(name));
  try {
    fsync_dir(ckpt_dir());
  } catch (const IoError&) {
    rename_path(path_of(name), tmp_of(name));  // not known to be durable, so not a commit
    throw;
  }
}

void RunStore::write_latest(const std::string& name) const { write_atomic(run_dir_ / "LATEST", name + "\n"); }

std::string RunStore::latest() const {
  std::string text;
  try {
    read_if_there(run_dir_ / "LATEST", kSmallFile, text);
  } catch (const DataError&) {  // only a hint
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::vector<std::string> RunStore::prune(std::int64_t epoch, int keep,
                                         const std::function<bool(const std::string& name)>& good) const {
  std::vector<std::string> removed;
  const int least = std::max(keep, 2);
  int kept = 0;
  for (const CheckpointId& id : chain(epoch + 1)) {
    if (is_bad(id.name)) continue;  // kept for whoever wants to find out what happened
    if (kept < least) {
      kept += good(id.name);
      continue;
    }
    discard(id.name);
    removed.push_back(id.name);
  }
  if (!removed.empty()) fsync_dir(ckpt_dir());
  empty_trash();
  return removed;
}

void RunStore::discard(const std::string& name) const {
  rename_path(path_of(name), ckpt_dir() / (std::string(kTrash) + name));
}

void RunStore::empty_trash() const {
  for (const std::string& name : names_in(ckpt_dir()))
    if (name.starts_with(kTrash)) remove_tree(ckpt_dir() / name);
}

void RunStore::sweep(std::int64_t epoch) const {
  std::set<std::int64_t> used;
  for (const CheckpointEntry& entry : list()) {
    if (entry.state != CheckpointState::kTmp)
      used.insert(entry.epoch);
    else if (entry.epoch < epoch)
      remove_tree(tmp_of(entry.name));
  }
  empty_trash();
  // Leases: those of attempts whose commits are there tell what they came from, and so does the newest with a base.
  // That may be a node-local checkpoint of an attempt that has left nothing here, which tells in turn, and so on.
  const std::int64_t oldest = used.empty() ? epoch : *used.begin();
  bool newest_found = false;
  const std::vector<std::int64_t> epochs = lease_epochs(run_dir_);
  for (auto e = epochs.rbegin(); e != epochs.rend(); ++e) {
    if (*e >= epoch) continue;
    const auto base = lease_base(run_dir_, *e);
    const bool newest = !newest_found && base && !base->name.empty();
    newest_found |= newest;
    if (!newest && !used.contains(*e)) {
      remove_tree(run_dir_ / "lease" / ("e" + std::to_string(*e)));
      continue;
    }
    std::int64_t step = 0, from = 0;
    if (base && parse_checkpoint_name(without_level(base->name), step, from) && from >= oldest) used.insert(from);
  }
  for (const std::string& name : names_in(run_dir_ / "lease"))
    if (name.starts_with("prepare-")) remove_tree(run_dir_ / "lease" / name);
}

}  // namespace banyan::io
