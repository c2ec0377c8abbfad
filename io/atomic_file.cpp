#include "io/atomic_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>
#include <system_error>
#include <utility>

#include "src/base/error.hpp"
#include "src/base/section.hpp"

namespace banyan::io {
namespace {

constexpr mode_t kFileMode = 0640, kDirectoryMode = 0750;

std::string reason(int error) { return std::generic_category().message(error); }

/// What to do about an errno, for the end of a sentence.
std::string advice(int error) {
  switch (error) {
    case ENOSPC:
      return "; free some space or choose another run.dir";
    case EDQUOT:
      return "; the quota of this user is used up";
    case EFBIG:
      return "; the limit on file sizes (ulimit -f) is too low";
    case EROFS:
      return "; it must be on a file system that can be written";
    case EACCES:
    case EPERM:
      return "; give this user the right to, or choose another place";
    case EMFILE:
      return "; raise the limit on open files (ulimit -n)";
    default:
      return "";
  }
}

[[noreturn]] void fail(const char* action, const std::filesystem::path& path, int error) {
  throw IoError("cannot {} {}: {}{}", action, path.string(), reason(error), advice(error));
}

/// Calls a system call until it is not interrupted; EAGAIN, which some network file systems give, waits a little.
template <class Call>
auto persist(const Call& call) {
  Backoff backoff;
  for (int again = 0;;) {
    const auto result = call();
    if (result >= 0) return result;
    if (errno == EINTR) continue;
    if (errno == EAGAIN && again++ < 8192) {
      backoff.pause();
      continue;
    }
    return result;
  }
}

/// Refuses what is not a regular file.
File checked(int fd, const std::filesystem::path& path) {
  if (fd < 0) {
    if (errno == ELOOP) throw DataError("{} is a symbolic link; a regular file is expected there", path.string());
    fail("open", path, errno);
  }
  File file(fd, path);
  struct stat s {};
  if (::fstat(fd, &s) != 0) fail("inspect", path, errno);
  if (!S_ISREG(s.st_mode)) throw DataError("{} is not a regular file", path.string());
  return file;
}

}  // namespace

File::File(File&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      bypasses_(other.bypasses_),
      direct_(other.direct_),
      path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
    bypasses_ = other.bypasses_;
    direct_ = other.direct_;
    path_ = std::move(other.path_);
  }
  return *this;
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

// O_NONBLOCK: opening a pipe somebody put in a file's place must not block; it means nothing for regular files.
File File::open_for_reading(const std::filesystem::path& path) {
  return checked(persist([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); }), path);
}

File File::open_for_reading_at(const File& directory, const std::string& name) {
  if (!plain_name(name)) throw DataError("'{}' is not the name of a file in {}", name, directory.path().string());
  return checked(
      persist([&] { return ::openat(directory.fd(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); }),
      directory.path() / name);
}

File File::open_for_writing(const std::filesystem::path& path) {
  return checked(persist([&] { return ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); }), path);
}

File File::create(const std::filesystem::path& path) {
  const int fd =
      persist([&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, kFileMode); });
  if (fd < 0) fail("create", path, errno);
  return File(fd, path);
}

File File::open_directory(const std::filesystem::path& path, bool follow) {
  const int fd =
      persist([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW)); });
  if (fd < 0 && !follow && (errno == ENOTDIR || errno == ELOOP)) {
    const int error = errno;
    std::error_code ignored;
    if (std::filesystem::is_symlink(path, ignored))
      throw DataError("{} is a symbolic link, and none is followed; give the directory itself its name", path.string());
    errno = error;
  }
  if (fd < 0) fail("open", path, errno);
  return File(fd, path);
}

std::int64_t File::size() const {
  struct stat s {};
  if (::fstat(fd_, &s) != 0) fail("inspect", path_, errno);
  return s.st_size;
}

void File::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = persist([&] { return ::write(fd_, bytes.data(), bytes.size()); });
    if (n < 0) fail("write", path_, errno);
    if (n == 0) throw IoError("cannot write {}: the system takes no more bytes", path_.string());
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

void File::write_at(std::int64_t offset, const void* data, std::size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    choose_way(offset, at, bytes);
    const ssize_t n = persist([&] { return ::pwrite(fd_, at, bytes, offset); });
    if (n < 0 && errno == EINVAL && std::exchange(bypasses_, false)) continue;  // wants other multiples
    if (n < 0) fail("write", path_, errno);
    if (n == 0) throw IoError("cannot write {}: the system takes no more bytes", path_.string());
    at += n;
    offset += n;
    bytes -= static_cast<std::size_t>(n);
  }
}

void File::read_at(std::int64_t offset, void* data, std::size_t bytes) const {
  char* at = static_cast<char*>(data);
  bool tried_again = false;
  while (bytes > 0) {
    choose_way(offset, at, bytes);
    const ssize_t n = persist([&] { return ::pread(fd_, at, bytes, offset); });
    if (n < 0 && errno == EINVAL && std::exchange(bypasses_, false)) continue;
    if (n < 0 && errno == EIO && !tried_again) {  // a disk may succeed at the second attempt
      tried_again = true;
      continue;
    }
    if (n < 0) fail("read", path_, errno);
    if (n == 0) throw DataError("{} ends at byte {}, more was expected", path_.string(), offset);
    at += n;
    offset += n;
    bytes -= static_cast<std::size_t>(n);
  }
}

void File::bypass_cache(bool on) {
  bypasses_ = on;
  if (!on && direct_) set_direct(false);
}

void File::choose_way(std::int64_t offset, const void* data, std::size_t bytes) const {
  const std::uint64_t places = static_cast<std::uint64_t>(offset) | bytes | reinterpret_cast<std::uintptr_t>(data);
  const bool direct = bypasses_ && places % static_cast<std::uint64_t>(kDirectUnit) == 0;
  if (direct != direct_ && !set_direct(direct)) bypasses_ = false;
}

/// False where the file system cannot.
bool File::set_direct(bool on) const {
  const int flags = ::fcntl(fd_, F_GETFL);
  if (flags < 0 || ::fcntl(fd_, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) != 0) {
    if (!on) fail("go through the system's cache to", path_, errno);
    return false;
  }
  direct_ = on;
  return true;
}

void File::resize(std::int64_t bytes) {
  if (persist([&] { return ::ftruncate(fd_, bytes); }) != 0) fail("extend", path_, errno);
}

void File::reserve(std::int64_t bytes) {
  // Not posix_fallocate: where the file system cannot reserve, it would write every block.
  if (bytes > 0 && persist([&] { return ::fallocate(fd_, 0, 0, bytes); }) != 0 && errno != EOPNOTSUPP &&
      errno != ENOSYS)
    fail("reserve space for", path_, errno);
}

void File::sync() {
  // EINTR apart, never repeated: a second fsync may succeed although the data of the first is gone.
  int result;
  do result = ::fsync(fd_);
  while (result != 0 && errno == EINTR);
  if (result != 0) fail("make durable", path_, errno);
}

void File::forget_cached() const {
  // Advice: a file system in memory has nothing else to read from.
  ::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
}

void File::close() {
  const int fd = std::exchange(fd_, -1);
  if (fd >= 0 && ::close(fd) != 0 && errno != EINTR) fail("close", path_, errno);
}

void FreeDirectMemory::operator()(std::byte* memory) const {
  ::operator delete[](memory, std::align_val_t{File::kDirectUnit});
}

DirectMemory direct_memory(std::size_t bytes) {
  return DirectMemory(static_cast<std::byte*>(::operator new[](bytes, std::align_val_t{File::kDirectUnit})));
}

void write_atomic(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::path tmp = path;
  tmp += ".tmp";
  try {
    const int fd =
        persist([&] { return ::open(tmp.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, kFileMode); });
    if (fd < 0) fail("create", tmp, errno);
    File file(fd, tmp);
    file.write(bytes);
    file.sync();
    file.close();
    rename_path(tmp, path);
  } catch (...) {
    ::unlink(tmp.c_str());
    throw;
  }
  fsync_dir(path.parent_path());
}

std::string read_limited(const std::filesystem::path& path, std::size_t limit) {
  const File file = File::open_for_reading(path);
  const std::int64_t size = file.size();
  if (size < 0 || static_cast<std::uint64_t>(size) > limit)
    throw DataError("{} has {} bytes, more than the {} it may have", path.string(), size, limit);
  std::string bytes(static_cast<std::size_t>(size), '\0');
  file.read_at(0, bytes.data(), bytes.size());
  return bytes;
}

bool read_if_there(const std::filesystem::path& path, std::size_t limit, std::string& out) {
  if (!path_exists(path)) return false;
  out = read_limited(path, limit);
  return true;
}

void fsync_dir(const std::filesystem::path& directory) {
  File handle = File::open_directory(directory.empty() ? "." : directory);
  handle.sync();
}

void make_directories(const std::filesystem::path& directory) {
  if (directory.empty() || std::filesystem::is_directory(directory)) return;
  const std::filesystem::path parent = directory.parent_path();
  if (parent != directory) make_directories(parent);
  if (!make_directory(directory) && !std::filesystem::is_directory(directory))
    throw IoError("cannot create directory {}: a file of that name is there", directory.string());
  fsync_dir(parent);
}

bool make_directory(const std::filesystem::path& directory) {
  if (::mkdir(directory.c_str(), kDirectoryMode) == 0) return true;
  if (errno == EEXIST) return false;
  fail("create directory", directory, errno);
}

void rename_path(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail(("rename " + from.string() + " to").c_str(), to, errno);
}

void remove_tree(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error && error != std::errc::no_such_file_or_directory) fail("remove", path, error.value());
}

std::int64_t free_bytes(const std::filesystem::path& path) {
  struct statvfs s {};
  if (::statvfs(path.c_str(), &s) != 0) fail("inspect the file system of", path, errno);
  return static_cast<std::int64_t>(s.f_bavail) * static_cast<std::int64_t>(s.f_frsize);
}

bool path_exists(const std::filesystem::path& path) {
  struct stat s {};
  if (::lstat(path.c_str(), &s) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  fail("inspect", path, errno);
}

std::string followed(const std::filesystem::path& path) {
  std::error_code ignored;  // what does not exist is reported by whoever opens it
  const std::filesystem::path real = std::filesystem::weakly_canonical(path, ignored);
  return ignored || real.empty() ? path.string() : real.string();
}

bool plain_name(std::string_view name) {
  if (name.empty() || name.size() > 255 || name.front() == '.') return false;
  for (char c : name)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
          c == '-'))
      return false;
  return true;
}

}  // namespace banyan::io
