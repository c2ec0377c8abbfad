// LD_PRELOAD library that makes one system call of the program go wrong.
//
//   FAULT=CALL:N:ACTION   the N-th call (from 1) of that kind on paths below FAULT_UNDER
//     CALL    open write pwrite pread fsync rename mkdir close fallocate ftruncate unlink, or any
//     ACTION  an errno name (ENOSPC, EIO, EDQUOT, EFBIG, EACCES, EROFS, ESTALE, EINTR, ENOENT), short (half of the
//     bytes),
//             kill (SIGKILL to itself instead of the call),
//             drop (the same, and before it everything that no fsync has made durable is taken back: data written since
//             the last fsync of the file, entries made or renamed since the last fsync of their directory)
//             late (write: reports success; the next fsync of that file fails with EIO)
//   FAULT_REACHED=PATH    this file is created when the fault strikes
//
// Only calls through the dynamic symbols are seen; that is how this program, libstdc++'s filesystem and HDF5 make
// theirs.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {

template <class F>
F real(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}

struct Error {
  const char* name;
  int value;
};
constexpr Error kErrors[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO},       {"EDQUOT", EDQUOT},
                             {"EFBIG", EFBIG},   {"EACCES", EACCES}, {"EROFS", EROFS},
                             {"ESTALE", ESTALE}, {"EINTR", EINTR},   {"ENOENT", ENOENT}};

/// A file opened for writing.  The duplicate lives on after close(), so that unsynced data can be taken back.
struct Written {
  int duplicate = -1;
  off_t synced = 0;
  bool dirty = false;
};

/// An entry of a directory that no fsync of the directory has made durable.
struct Entry {
  std::string path, from, backup;  ///< from: what was renamed; backup: a link to what the rename replaced
};

class Plan {
 public:
  Plan() {
    const char* fault = getenv("FAULT");
    const char* under = getenv("FAULT_UNDER");
    if (!fault || !under) return;
    const std::string text = fault;
    const std::size_t a = text.find(':'), b = text.find(':', a + 1);
    call_ = text.substr(0, a);
    n_ = atol(text.substr(a + 1, b - a - 1).c_str());
    action_ = text.substr(b + 1);
    under_ = std::string(under) + "/";
    active_ = true;
  }

  /// True when the real call must not be made: errno is set.  `shorten` is told to write less.
  bool strikes(const char* call, bool ours, bool* shorten = nullptr, int fd = -1) {
    if (!active_ || !ours || (call_ != "any" && call_ != call)) return false;
    std::unique_lock lock(mutex_);
    if (++count_ != n_) return false;
    if (const char* reached = getenv("FAULT_REACHED"))
      syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, reached, O_CREAT | O_WRONLY, 0600));
    if (action_ == "drop") take_back();
    if (action_ == "drop" || action_ == "kill") {
      kill(getpid(), SIGKILL);
      for (;;) pause();
    }
    if (action_ == "short") {
      if (shorten) *shorten = true;
      return false;
    }
    if (action_ == "late") {
      late_fd_ = fd;
      return false;
    }
    for (const Error& e : kErrors)
      if (action_ == e.name) {
        errno = e.value;
        return true;
      }
    abort();
  }

  bool ours(const std::string& path) const { return active_ && absolute(path).rfind(under_, 0) == 0; }
  bool ours(int fd) {
    std::lock_guard lock(mutex_);
    return active_ && paths_.count(fd) > 0;
  }
  std::string path_of(int fd) {
    std::lock_guard lock(mutex_);
    const auto at = paths_.find(fd);
    return at == paths_.end() ? "" : at->second;
  }

  void opened(int fd, const std::string& path, int flags, bool created) {
    if (fd < 0 || !ours(path)) return;
    std::lock_guard lock(mutex_);
    paths_[fd] = absolute(path);
    if (created) entries_.push_back({absolute(path), "", ""});
    if ((flags & O_ACCMODE) == O_RDONLY) return;
    Written w;
    w.duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 300);
    struct stat s {};
    fstat(fd, &s);
    w.synced = s.st_size;
    files_.push_back(w);
    writers_[fd] = files_.size() - 1;
  }
  void closed(int fd) {
    std::lock_guard lock(mutex_);
    paths_.erase(fd);
    writers_.erase(fd);
  }
  void wrote(int fd) {
    std::lock_guard lock(mutex_);
    if (const auto at = writers_.find(fd); at != writers_.end()) files_[at->second].dirty = true;
  }
  /// False when an earlier write of this file fails only now.
  bool synced(int fd) {
    std::lock_guard lock(mutex_);
    if (fd == late_fd_) {
      late_fd_ = -1;
      return false;
    }
    if (const auto at = writers_.find(fd); at != writers_.end()) {
      struct stat s {};
      fstat(fd, &s);
      files_[at->second].synced = s.st_size;
      files_[at->second].dirty = false;
    }
    if (const auto at = paths_.find(fd); at != paths_.end())
      entries_.erase(std::remove_if(entries_.begin(), entries_.end(),
                                    [&](const Entry& e) { return parent(e.path) == at->second; }),
                     entries_.end());
    return true;
  }
  void made(const std::string& path) {
    if (!ours(path)) return;
    std::lock_guard lock(mutex_);
    entries_.push_back({absolute(path), "", ""});
  }
  /// Before a rename: keeps what it will replace.
  std::string keep(const std::string& to) {
    if (!ours(to) || action_ != "drop") return "";
    std::lock_guard lock(mutex_);
    const std::string backup = under_.substr(0, under_.size() - 1) + ".backup" + std::to_string(backups_++);
    return link(absolute(to).c_str(), backup.c_str()) == 0 ? backup : "";
  }
  void renamed(const std::string& from, const std::string& to, const std::string& backup) {
    if (!ours(to)) return;
    std::lock_guard lock(mutex_);
    entries_.push_back({absolute(to), absolute(from), backup});
  }

 private:
  static std::string absolute(const std::string& path) {
    if (path.empty() || path[0] == '/') return path;
    char cwd[4096];
    return std::string(getcwd(cwd, sizeof cwd)) + "/" + path;
  }
  static std::string parent(const std::string& path) { return path.substr(0, path.rfind('/')); }

  /// The disk after a power cut that kept nothing it was not forced to keep.
  void take_back() {
    for (const Written& w : files_)
      if (w.dirty && syscall(SYS_ftruncate, w.duplicate, w.synced) != 0) abort();
    for (auto e = entries_.rbegin(); e != entries_.rend(); ++e) {
      if (!e->from.empty()) {
        syscall(SYS_rename, e->path.c_str(), e->from.c_str());
        if (!e->backup.empty()) syscall(SYS_rename, e->backup.c_str(), e->path.c_str());
      } else {
        syscall(SYS_unlink, e->path.c_str());
        syscall(SYS_rmdir, e->path.c_str());
      }
    }
  }

  bool active_ = false;
  std::string call_, action_, under_;
  long n_ = 0, count_ = 0, backups_ = 0;
  int late_fd_ = -1;
  std::mutex mutex_;
  std::map<int, std::string> paths_;
  std::map<int, std::size_t> writers_;
  std::vector<Written> files_;
  std::vector<Entry> entries_;
};

Plan& plan() {
  static Plan* p = new Plan;
  return *p;
}

int open_at(int directory, const char* path, int flags, mode_t mode) {
  std::string full = path;
  if (directory != AT_FDCWD && full[0] != '/') full = plan().path_of(directory) + "/" + full;
  if (plan().strikes("open", plan().ours(full))) return -1;
  struct stat s {};
  const bool there = lstat(full.c_str(), &s) == 0;
  const int fd = static_cast<int>(syscall(SYS_openat, directory, path, flags, mode));
  const int error = errno;
  plan().opened(fd, full, flags, !there && (flags & O_CREAT));
  errno = error;
  return fd;
}

ssize_t write_some(const char* call, int fd, const void* data, size_t n, bool at_offset, off_t offset) {
  bool shorten = false;
  if (plan().strikes(call, plan().ours(fd), &shorten, fd)) return -1;
  if (shorten && n > 1) n /= 2;
  const ssize_t done = at_offset ? syscall(SYS_pwrite64, fd, data, n, offset) : syscall(SYS_write, fd, data, n);
  if (done > 0) plan().wrote(fd);
  return done;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
  va_end(list);
  return open_at(AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
  va_end(list);
  return open_at(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}
int openat(int directory, const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
  va_end(list);
  return open_at(directory, path, flags, mode);
}
int openat64(int directory, const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
  va_end(list);
  return open_at(directory, path, flags | O_LARGEFILE, mode);
}

ssize_t write(int fd, const void* data, size_t n) { return write_some("write", fd, data, n, false, 0); }
ssize_t pwrite(int fd, const void* data, size_t n, off_t offset) {
  return write_some("pwrite", fd, data, n, true, offset);
}
ssize_t pwrite64(int fd, const void* data, size_t n, off64_t offset) {
  return write_some("pwrite", fd, data, n, true, offset);
}

static ssize_t read_some(int fd, void* data, size_t n, off_t offset) {
  bool shorten = false;
  if (plan().strikes("pread", plan().ours(fd), &shorten)) return -1;
  if (shorten && n > 1) n /= 2;
  return syscall(SYS_pread64, fd, data, n, offset);
}
ssize_t pread(int fd, void* data, size_t n, off_t offset) { return read_some(fd, data, n, offset); }
ssize_t pread64(int fd, void* data, size_t n, off64_t offset) { return read_some(fd, data, n, offset); }

int fsync(int fd) {
  if (plan().strikes("fsync", plan().ours(fd))) return -1;
  if (!plan().synced(fd)) {
    errno = EIO;
    return -1;
  }
  return 0;  // the tests' disks need no real one: what counts is kept in the plan
}

int close(int fd) {
  const bool fails = plan().strikes("close", plan().ours(fd));
  const int error = errno;
  plan().closed(fd);
  const int result = static_cast<int>(syscall(SYS_close, fd));
  if (!fails) return result;
  errno = error;
  return -1;
}

int rename(const char* from, const char* to) {
  if (plan().strikes("rename", plan().ours(std::string(to)))) return -1;
  const std::string backup = plan().keep(to);
  const int result = static_cast<int>(syscall(SYS_rename, from, to));
  if (result == 0) plan().renamed(from, to, backup);
  return result;
}

int mkdir(const char* path, mode_t mode) {
  if (plan().strikes("mkdir", plan().ours(std::string(path)))) return -1;
  const int result = static_cast<int>(syscall(SYS_mkdir, path, mode));
  if (result == 0) plan().made(path);
  return result;
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
  if (plan().strikes("fallocate", plan().ours(fd))) return -1;
  return static_cast<int>(syscall(SYS_fallocate, fd, mode, offset, length));
}
int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return fallocate(fd, mode, offset, length); }

int ftruncate(int fd, off_t length) {
  if (plan().strikes("ftruncate", plan().ours(fd))) return -1;
  const int result = static_cast<int>(syscall(SYS_ftruncate, fd, length));
  if (result == 0) plan().wrote(fd);
  return result;
}
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

int unlinkat(int directory, const char* path, int flags) {
  const std::string full = directory == AT_FDCWD || path[0] == '/' ? path : plan().path_of(directory) + "/" + path;
  if (plan().strikes("unlink", plan().ours(full))) return -1;
  return static_cast<int>(syscall(SYS_unlinkat, directory, path, flags));
}
int unlink(const char* path) { return unlinkat(AT_FDCWD, path, 0); }

}  // extern "C"
