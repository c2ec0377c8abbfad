// LD_PRELOAD library that makes one system call of a program go wrong, and writes down what the program does to files.
//
//   FAULT_UNDER=DIR       only calls on DIR and what is below it count
//   FAULT=CALL:N:ACTION   the N-th such call (from 1) of that kind; N = 0: every one
//     CALL    open write pwrite pwritev read pread mmap fsync rename link mkdir close fallocate ftruncate unlink lock
//             (flock, and fcntl's locks), or any
//     ACTION  an errno name (ENOSPC, EIO, EDQUOT, EFBIG, EACCES, EROFS, ESTALE, EINTR, EAGAIN, ENOENT, ENOMEM, ENOLCK,
//             ENOSYS),
//             short (half of the bytes), flip (write: another bit reaches the file than the program gave),
//             kill (SIGKILL to itself instead of the call), killall (the same to every process of the job, itself
//             last), stop (SIGSTOP to itself before the call), pause (8 s in the call, on its thread alone),
//             late (write: reports success; the next fsync of that file fails with EIO)
//   FAULT_LATE=SECONDS    names that other processes make are not found (stat, access, open) before this one has looked
//   for
//                         them for so long, as where a host keeps for a while that a name is not there
//   FAULT_SPEED=BYTES     write and pwrite take as long as with so many bytes per second
//   FAULT_RANK=R          only in the process of rank R of a job
//   FAULT_WHEN=PATH       only while this file is there (not for FAULT_LATE)
//   FAULT_REACHED=PATH    this file is created when the fault strikes
//   FAULT_PIDS=DIR        every process puts its id there, for killall
//   FAULT_TRACE=PATH      successful calls that change files are appended (trace.hpp)
//
// Only calls through the dynamic symbols are seen; that is how this program, libstdc++'s filesystem and HDF5 make
// theirs.  An MPI library or UCX that puts its own mmap into the program hides that call.  stdio's own (log.txt, the
// heartbeat of the lease) are not: nothing a resume needs comes from them.
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <string>

#include "tests/fault/fault_plan.hpp"

namespace {

using banyan::fault::FaultPlan;
using banyan::fault::TraceKind;
using banyan::fault::Twist;

FaultPlan& plan() { return FaultPlan::get(); }

std::string full_path(int directory, const char* path) {
  if (directory == AT_FDCWD || path[0] == '/') return path;
  return plan().path_of(directory) + "/" + path;
}

int open_at(int directory, const char* path, int flags, mode_t mode) {
  const std::string full = full_path(directory, path);
  const bool ours = plan().ours(full);
  if (!(flags & O_CREAT) && plan().hidden(full)) return -1;
  if (plan().strikes("open", ours)) return -1;
  struct stat s {};
  const bool there = ours && syscall(SYS_newfstatat, AT_FDCWD, full.c_str(), &s, AT_SYMLINK_NOFOLLOW) == 0;
  const int fd = static_cast<int>(syscall(SYS_openat, directory, path, flags, mode));
  const int error = errno;
  if (fd >= 0 && !there) plan().made(full);
  plan().opened(fd, full, !there && (flags & O_CREAT), there && (flags & O_TRUNC));
  errno = error;
  return fd;
}

mode_t mode_of(int flags, va_list list) { return flags & O_CREAT ? va_arg(list, mode_t) : 0; }

ssize_t write_some(const char* call, int fd, const void* data, size_t n, bool at_offset, off_t offset) {
  const bool ours = plan().ours(fd);
  Twist twist = Twist::kNone;
  if (plan().strikes(call, ours, &twist, fd)) return -1;
  if (twist == Twist::kShort && n > 1) n /= 2;
  std::string flipped;
  if (twist == Twist::kFlip && n > 0) {
    flipped.assign(static_cast<const char*>(data), n);
    flipped[n / 2] ^= 1;
    data = flipped.data();
  }
  if (ours) plan().slow_down(n);
  const ssize_t done = at_offset ? syscall(SYS_pwrite64, fd, data, n, offset) : syscall(SYS_write, fd, data, n);
  if (done > 0 && ours) {
    if (!at_offset) offset = lseek(fd, 0, SEEK_CUR) - done;
    plan().record(TraceKind::kWrite, fd, offset, data, static_cast<size_t>(done));
  }
  return done;
}

ssize_t read_some(const char* call, int fd, void* data, size_t n, bool at_offset, off_t offset) {
  Twist twist = Twist::kNone;
  if (plan().strikes(call, plan().ours(fd), &twist)) return -1;
  if (twist == Twist::kShort && n > 1) n /= 2;
  return at_offset ? syscall(SYS_pread64, fd, data, n, offset) : syscall(SYS_read, fd, data, n);
}

int sync(int fd) {
  const bool ours = plan().ours(fd);
  if (plan().strikes("fsync", ours)) return -1;
  if (ours && plan().fails_late(fd)) {
    errno = EIO;
    return -1;
  }
  plan().record(TraceKind::kSync, fd, 0);
  return 0;  // the tests' disks need no real one: what counts is what was asked for
}

/// Notes a call on one or two names when it succeeded.
int noted(long result, TraceKind kind, const std::string& path, const std::string& second = "") {
  if (result == 0) plan().record(kind, path, second);
  if (result == 0) plan().made(second.empty() ? path : second);
  return static_cast<int>(result);
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = mode_of(flags, list);
  va_end(list);
  return open_at(AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = mode_of(flags, list);
  va_end(list);
  return open_at(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}
int openat(int directory, const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = mode_of(flags, list);
  va_end(list);
  return open_at(directory, path, flags, mode);
}
int openat64(int directory, const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = mode_of(flags, list);
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
// One piece at a time: the caller has to be ready for a short count anyway.
ssize_t pwritev(int fd, const iovec* parts, int n, off_t offset) {
  if (n < 1) return 0;
  return write_some("pwritev", fd, parts[0].iov_base, parts[0].iov_len, true, offset);
}
ssize_t pwritev64(int fd, const iovec* parts, int n, off64_t offset) { return pwritev(fd, parts, n, offset); }

ssize_t read(int fd, void* data, size_t n) { return read_some("read", fd, data, n, false, 0); }
ssize_t pread(int fd, void* data, size_t n, off_t offset) { return read_some("pread", fd, data, n, true, offset); }
ssize_t pread64(int fd, void* data, size_t n, off64_t offset) { return read_some("pread", fd, data, n, true, offset); }

void* mmap(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
  if (fd >= 0 && plan().strikes("mmap", plan().ours(fd))) return MAP_FAILED;
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, length, protection, flags, fd, offset));
}
void* mmap64(void* address, size_t length, int protection, int flags, int fd, off64_t offset) {
  return mmap(address, length, protection, flags, fd, offset);
}

int fsync(int fd) { return sync(fd); }
int fdatasync(int fd) { return sync(fd); }

int close(int fd) {
  const bool fails = plan().strikes("close", plan().ours(fd));
  const int error = errno;
  plan().closed(fd);
  const int result = static_cast<int>(syscall(SYS_close, fd));
  if (!fails) return result;
  errno = error;
  return -1;
}
int closedir(DIR* directory) {
  plan().closed(dirfd(directory));
  return reinterpret_cast<int (*)(DIR*)>(dlsym(RTLD_NEXT, "closedir"))(directory);
}

int rename(const char* from, const char* to) {
  if (plan().strikes("rename", plan().ours(std::string(to)))) return -1;
  return noted(syscall(SYS_rename, from, to), TraceKind::kRename, from, to);
}
int link(const char* from, const char* to) {
  if (plan().strikes("link", plan().ours(std::string(to)))) return -1;
  return noted(syscall(SYS_link, from, to), TraceKind::kLink, from, to);
}
int mkdir(const char* path, mode_t mode) {
  if (plan().strikes("mkdir", plan().ours(std::string(path)))) return -1;
  return noted(syscall(SYS_mkdir, path, mode), TraceKind::kMkdir, path);
}

int stat(const char* path, struct stat* out) {
  return plan().hidden(path) ? -1 : static_cast<int>(syscall(SYS_newfstatat, AT_FDCWD, path, out, 0));
}
int lstat(const char* path, struct stat* out) {
  return plan().hidden(path) ? -1 : static_cast<int>(syscall(SYS_newfstatat, AT_FDCWD, path, out, AT_SYMLINK_NOFOLLOW));
}
int access(const char* path, int mode) {
  return plan().hidden(path) ? -1 : static_cast<int>(syscall(SYS_faccessat, AT_FDCWD, path, mode));
}

int flock(int fd, int operation) {
  if (plan().strikes("lock", plan().ours(fd))) return -1;
  return static_cast<int>(syscall(SYS_flock, fd, operation));
}
int fcntl(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void* const argument = va_arg(list, void*);
  va_end(list);
  const bool locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW;
  if (locks && plan().strikes("lock", plan().ours(fd))) return -1;
  return static_cast<int>(syscall(SYS_fcntl, fd, command, argument));
}
int fcntl64(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void* const argument = va_arg(list, void*);
  va_end(list);
  return fcntl(fd, command, argument);
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
  if (plan().strikes("fallocate", plan().ours(fd))) return -1;
  const int result = static_cast<int>(syscall(SYS_fallocate, fd, mode, offset, length));
  if (result == 0 && mode == 0) plan().record(TraceKind::kAllocate, fd, offset + length);
  return result;
}
int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return fallocate(fd, mode, offset, length); }

int ftruncate(int fd, off_t length) {
  if (plan().strikes("ftruncate", plan().ours(fd))) return -1;
  const int result = static_cast<int>(syscall(SYS_ftruncate, fd, length));
  if (result == 0) plan().record(TraceKind::kTruncate, fd, length);
  return result;
}
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

int unlinkat(int directory, const char* path, int flags) {
  const std::string full = full_path(directory, path);
  if (plan().strikes("unlink", plan().ours(full))) return -1;
  return noted(syscall(SYS_unlinkat, directory, path, flags),
               flags & AT_REMOVEDIR ? TraceKind::kRmdir : TraceKind::kUnlink, full);
}
int unlink(const char* path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char* path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

}  // extern "C"
