// A model of a disk with a page cache: replays a trace and says what a directory may look like when the machine loses
// its power after the k-th call.  Method: record-and-replay as of LevelDB's and SQLite's crash tests, with the freedom
// that POSIX leaves: an fsync of a file makes its bytes durable, not its name; an fsync of a directory makes its
// entries durable, not what they name; nothing else is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/fault/trace.hpp"

namespace banyan::fault {

struct TraceRecord {
  TraceKind kind{};
  std::int32_t pid = 0, fd = -1;
  std::int64_t offset = 0;
  std::string path, second, data;
};

/// A last record that was cut short by the end of its process is left out.  std::runtime_error on anything else.
std::vector<TraceRecord> read_trace(const std::filesystem::path& path);

/// What survives of what no fsync has made durable.
enum class Survives : std::uint8_t {
  kAll,       ///< only the processes died: the page cache is still there
  kNothing,   ///< all of it is lost, bytes and entries
  kPrefix,    ///< writes and changes of entries up to some point in each file and directory; the last write is torn
  kAnything,  ///< any of them, in any order, in pieces of 512 or 4096 bytes
};

class CrashDisk {
 public:
  /// Starts from what is in `image`, all of it durable; in the trace it is called `root`.
  CrashDisk(const std::filesystem::path& image, std::string root);

  void apply(const TraceRecord& record);
  /// Makes `out` (replaced) what `root` would be after a crash now.  `seed` decides for kPrefix and kAnything.
  void crash(Survives what, std::uint64_t seed, const std::filesystem::path& out) const;

 private:
  using Id = std::size_t;
  /// One write or change of length (then `data` is empty and `length` counts).
  struct Write {
    std::int64_t offset = 0, length = -1;
    bool grows_only = false;
    std::string data;
  };
  /// One change of a directory: all of it or nothing.
  struct Change {
    std::string gone, name;  ///< either may be empty
    Id is = 0;
  };
  struct Node {
    bool directory = false;
    std::string bytes;                  ///< durable
    std::vector<Write> writes;          ///< since
    std::map<std::string, Id> entries;  ///< durable
    std::vector<Change> changes;        ///< since
    std::map<std::string, Id> now;      ///< entries as the running program sees them
  };
  struct Randomness;

  Id load(const std::filesystem::path& path);
  Id find(const std::string& path) const;
  Id parent_of(const std::string& path) const;
  void change(Id directory, Change change);
  static void write_to(std::string& bytes, const Write& write);
  std::string bytes_after(const Node& node, Survives what, Randomness& random) const;
  std::map<std::string, Id> entries_after(const Node& node, Survives what, Randomness& random) const;
  void put(Id id, Survives what, Randomness& random, const std::filesystem::path& out) const;

  std::string root_;
  std::vector<Node> nodes_;
  std::map<std::pair<int, int>, Id> open_;  ///< by process and descriptor
};

}  // namespace banyan::fault
