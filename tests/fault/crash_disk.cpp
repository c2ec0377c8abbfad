#include "tests/fault/crash_disk.hpp"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>

namespace banyan::fault {
namespace {

namespace fs = std::filesystem;

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

std::string leaf(const std::string& path) { return path.substr(path.rfind('/') + 1); }
std::string folder(const std::string& path) { return path.substr(0, path.rfind('/')); }

}  // namespace

struct CrashDisk::Randomness {
  std::mt19937_64 engine;
  /// 0 .. n - 1.
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(engine() % n); }
  bool coin() { return engine() % 2 == 0; }
};

std::vector<TraceRecord> read_trace(const fs::path& path) {
  const std::string text = slurp(path);
  std::vector<TraceRecord> records;
  for (std::size_t at = 0; text.size() - at >= sizeof(TraceHead);) {
    TraceHead head;
    std::memcpy(&head, text.data() + at, sizeof head);
    if (head.magic != kTraceMagic) throw std::runtime_error(path.string() + " is not a trace");
    at += sizeof head;
    if (text.size() - at < head.path_bytes + head.second_bytes + head.data_bytes) break;
    TraceRecord r{head.kind, head.pid, head.fd, head.offset, {}, {}, {}};
    r.path = text.substr(at, head.path_bytes);
    r.second = text.substr(at += head.path_bytes, head.second_bytes);
    r.data = text.substr(at += head.second_bytes, head.data_bytes);
    at += head.data_bytes;
    records.push_back(std::move(r));
  }
  return records;
}

CrashDisk::CrashDisk(const fs::path& image, std::string root) : root_(std::move(root)) { load(image); }

CrashDisk::Id CrashDisk::load(const fs::path& path) {
  const Id id = nodes_.size();
  nodes_.emplace_back();
  nodes_[id].directory = fs::is_directory(path);
  if (!nodes_[id].directory) {
    nodes_[id].bytes = slurp(path);
    return id;
  }
  std::map<std::string, Id> entries;
  for (const auto& entry : fs::directory_iterator(path)) entries[entry.path().filename().string()] = load(entry.path());
  nodes_[id].entries = nodes_[id].now = std::move(entries);
  return id;
}

CrashDisk::Id CrashDisk::find(const std::string& path) const {
  if (path == root_) return 0;
  const Id above = find(folder(path));
  const auto at = nodes_[above].now.find(leaf(path));
  if (at == nodes_[above].now.end()) throw std::runtime_error("the trace uses " + path + " before it is there");
  return at->second;
}

CrashDisk::Id CrashDisk::parent_of(const std::string& path) const { return find(folder(path)); }

void CrashDisk::change(Id directory, Change change) {
  Node& node = nodes_[directory];
  if (!change.gone.empty()) node.now.erase(change.gone);
  if (!change.name.empty()) node.now[change.name] = change.is;
  node.changes.push_back(std::move(change));
}

void CrashDisk::apply(const TraceRecord& r) {
  const auto handle = std::pair(static_cast<int>(r.pid), static_cast<int>(r.fd));
  switch (r.kind) {
    case TraceKind::kOpen:
      if (r.offset & kCreated) {
        nodes_.emplace_back();
        change(parent_of(r.path), {"", leaf(r.path), nodes_.size() - 1});
      }
      open_[handle] = find(r.path);
      if (r.offset & kTruncated) nodes_[open_[handle]].writes.push_back({0, 0, false, ""});
      break;
    case TraceKind::kWrite:
      nodes_[open_.at(handle)].writes.push_back({r.offset, -1, false, r.data});
      break;
    case TraceKind::kTruncate:
      nodes_[open_.at(handle)].writes.push_back({0, r.offset, false, ""});
      break;
    case TraceKind::kAllocate:
      nodes_[open_.at(handle)].writes.push_back({0, r.offset, true, ""});
      break;
    case TraceKind::kSync: {
      Node& node = nodes_[open_.at(handle)];
      for (const Write& w : node.writes) write_to(node.bytes, w);
      node.writes.clear();
      node.changes.clear();
      node.entries = node.now;
      break;
    }
    case TraceKind::kClose:
      open_.erase(handle);
      break;
    case TraceKind::kMkdir:
      nodes_.emplace_back();
      nodes_.back().directory = true;
      change(parent_of(r.path), {"", leaf(r.path), nodes_.size() - 1});
      break;
    case TraceKind::kRename:
      if (folder(r.path) != folder(r.second)) throw std::runtime_error("a rename from folder to folder: " + r.second);
      change(parent_of(r.path), {leaf(r.path), leaf(r.second), find(r.path)});
      break;
    case TraceKind::kLink:
      change(parent_of(r.second), {"", leaf(r.second), find(r.path)});
      break;
    case TraceKind::kUnlink:
    case TraceKind::kRmdir:
      change(parent_of(r.path), {leaf(r.path), "", 0});
      break;
  }
}

void CrashDisk::write_to(std::string& bytes, const Write& w) {
  const auto end = static_cast<std::size_t>(w.length >= 0 ? w.length : w.offset + std::ssize(w.data));
  if (w.length >= 0) {
    if (!w.grows_only || bytes.size() < end) bytes.resize(end, '\0');
    return;
  }
  if (bytes.size() < end) bytes.resize(end, '\0');
  std::copy(w.data.begin(), w.data.end(), bytes.begin() + w.offset);
}

std::string CrashDisk::bytes_after(const Node& node, Survives what, Randomness& random) const {
  std::string bytes = node.bytes;
  if (what == Survives::kNothing || node.writes.empty()) return bytes;
  const std::size_t sector = random.coin() ? 512 : 4096;
  const std::size_t kept = what == Survives::kPrefix ? random.below(node.writes.size() + 1) : node.writes.size();
  for (std::size_t i = 0; i < kept; ++i) {
    Write w = node.writes[i];
    if (what == Survives::kPrefix && i + 1 == kept && w.length < 0)
      w.data.resize(std::min(w.data.size(), random.below(w.data.size() / sector + 2) * sector));
    if (what != Survives::kAnything) {
      write_to(bytes, w);
    } else if (w.length >= 0) {
      if (random.coin()) write_to(bytes, w);
    } else {
      for (std::size_t at = 0; at < w.data.size(); at += sector)
        if (random.coin())
          write_to(bytes, {w.offset + static_cast<std::int64_t>(at), -1, false, w.data.substr(at, sector)});
    }
  }
  return bytes;
}

std::map<std::string, CrashDisk::Id> CrashDisk::entries_after(const Node& node, Survives what,
                                                              Randomness& random) const {
  if (what == Survives::kAll) return node.now;
  std::map<std::string, Id> entries = node.entries;
  if (what == Survives::kNothing) return entries;
  const std::size_t kept = what == Survives::kPrefix ? random.below(node.changes.size() + 1) : node.changes.size();
  for (std::size_t i = 0; i < kept; ++i) {
    const Change& c = node.changes[i];
    if (what == Survives::kAnything && random.coin()) continue;
    if (!c.gone.empty()) entries.erase(c.gone);
    if (!c.name.empty()) entries[c.name] = c.is;
  }
  return entries;
}

void CrashDisk::put(Id id, Survives what, Randomness& random, const fs::path& out) const {
  const Node& node = nodes_[id];
  if (!node.directory) {
    std::ofstream(out, std::ios::binary) << bytes_after(node, what, random);
    return;
  }
  fs::create_directory(out);
  for (const auto& [name, is] : entries_after(node, what, random)) put(is, what, random, out / name);
}

void CrashDisk::crash(Survives what, std::uint64_t seed, const fs::path& out) const {
  Randomness random{std::mt19937_64(seed)};
  fs::remove_all(out);
  put(0, what, random, out);
}

}  // namespace banyan::fault
