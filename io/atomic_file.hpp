// Files that are either there in full or not at all, and the small POSIX steps everything durable is made of.
//
// Nothing here retries a failed fsync: after one, the kernel may have dropped the data, so the only honest answer is
// that the write failed.  Interrupted and short reads and writes are continued.  Errors of the system are IoErrors that
// name the path and the system's reason; files that are not what they should be are DataErrors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace banyan::io {

/// An open file descriptor.  Movable; the destructor closes without telling, close() tells.
class File {
 public:
  File() = default;
  /// Adopts a descriptor; `path` is for messages.
  File(int fd, std::filesystem::path path) : fd_(fd), path_(std::move(path)) {}
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  /// Opens a regular file for reading; a symbolic link, directory or device in its place is a DataError.
  static File open_for_reading(const std::filesystem::path& path);
  /// The same below an open directory, by a name without '/'.
  static File open_for_reading_at(const File& directory, const std::string& name);
  /// Opens an existing regular file for writing in place.
  static File open_for_writing(const std::filesystem::path& path);
  /// Creates a file that must not exist (mode 0640).
  static File create(const std::filesystem::path& path);
  /// `follow` false: a symbolic link in its place is a DataError.
  static File open_directory(const std::filesystem::path& path, bool follow = true);

  int fd() const { return fd_; }
  const std::filesystem::path& path() const { return path_; }
  explicit operator bool() const { return fd_ >= 0; }

  std::int64_t size() const;
  void write(std::string_view bytes);
  void write_at(std::int64_t offset, const void* data, std::size_t bytes);
  /// Reads exactly `bytes` bytes; a file that ends before is a DataError.
  void read_at(std::int64_t offset, void* data, std::size_t bytes) const;
  /// Has write_at and read_at move bytes that begin, end and lie in memory at multiples of kDirectUnit between memory
  /// and storage without a copy in the system's cache, where the file system can do that; false ends it.  Other bytes
  /// go their usual way.
  void bypass_cache(bool on);
  static constexpr std::int64_t kDirectUnit = 4096;
  /// Sets the length.
  void resize(std::int64_t bytes);
  /// Asks for room for the first `bytes` bytes now, so that a full disk is noticed before the work is done.
  void reserve(std::int64_t bytes);
  void sync();
  /// Has the system forget its copy of what is synced already, where it can, so that reading reaches the storage.
  void forget_cached() const;
  void close();

 private:
  void choose_way(std::int64_t offset, const void* data, std::size_t bytes) const;
  bool set_direct(bool on) const;

  int fd_ = -1;
  mutable bool bypasses_ = false, direct_ = false;  ///< wanted, and possible so far; what the descriptor is set to
  std::filesystem::path path_;
};

/// Memory at a multiple of File::kDirectUnit.
struct FreeDirectMemory {
  void operator()(std::byte* memory) const;
};
using DirectMemory = std::unique_ptr<std::byte[], FreeDirectMemory>;
DirectMemory direct_memory(std::size_t bytes);

/// Replaces (or creates) the file in one step: PATH.tmp, fsync, rename, fsync of the directory.
void write_atomic(const std::filesystem::path& path, std::string_view bytes);
/// The whole file; DataError when it is larger than `limit`.
std::string read_limited(const std::filesystem::path& path, std::size_t limit);
/// The same for a file that may not be there: false then, and when a directory of the path is not there.
bool read_if_there(const std::filesystem::path& path, std::size_t limit, std::string& out);
/// Makes entries of a directory (creations, renames, removals) durable.
void fsync_dir(const std::filesystem::path& directory);
/// mkdir with mode 0750 of the directory and its missing parents; durable.
void make_directories(const std::filesystem::path& directory);
/// mkdir of exactly this directory; false when it is there already.
bool make_directory(const std::filesystem::path& directory);
void rename_path(const std::filesystem::path& from, const std::filesystem::path& to);
/// Removes a file or a directory with everything in it, never following links; missing is fine.
void remove_tree(const std::filesystem::path& path);
/// Free bytes for unprivileged users on the file system of `path`.
std::int64_t free_bytes(const std::filesystem::path& path);
/// True when the path itself (not what a link points to) is there.
bool path_exists(const std::filesystem::path& path);

/// The file a user means by `path`, with links followed: for what users name themselves, unlike files of a checkpoint.
std::string followed(const std::filesystem::path& path);

/// True for a name that a file of ours may have inside its directory: 1 to 255 of [A-Za-z0-9._-], not starting with
/// '.'.
bool plain_name(std::string_view name);

}  // namespace banyan::io
