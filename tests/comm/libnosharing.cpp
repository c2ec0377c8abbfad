// Loaded before the C library: a host that does not let its ranks share memory.  BANYAN_TEST_NO_SHARING says what goes
// wrong: "make" (memfd_create, as under a strict seccomp filter), "size" (no room for it), "join" (/proc/PID/fd of
// others is closed, as between containers); BANYAN_TEST_NO_SHARING_RANK on which rank (all of them where it is not
// set).
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/types.h>

#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <cstring>

namespace {

bool refuses(const char* what) {
  const char* wanted = std::getenv("BANYAN_TEST_NO_SHARING");
  if (!wanted || std::strcmp(wanted, what) != 0) return false;
  const char* only = std::getenv("BANYAN_TEST_NO_SHARING_RANK");
  if (!only) return true;
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");  // Open MPI's
  if (!rank) rank = std::getenv("PMI_RANK");               // MPICH's
  return rank && std::strcmp(rank, only) == 0;
}

template <class F>
F* next(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

/// The size comm/shared/arena.cpp gives every arena.
constexpr std::size_t kArena = std::size_t{1} << 30;

bool of_another_process(const char* path) {
  return std::strncmp(path, "/proc/", 6) == 0 && path[6] >= '0' && path[6] <= '9' && std::strstr(path, "/fd/");
}

int refuse(int error) {
  errno = error;
  return -1;
}

}  // namespace

extern "C" int memfd_create(const char* name, unsigned flags) noexcept {
  if (refuses("make")) return refuse(EPERM);
  return next<int(const char*, unsigned)>("memfd_create")(name, flags);
}

extern "C" int ftruncate(int file, off_t length) noexcept {
  if (length == static_cast<off_t>(kArena) && refuses("size")) return refuse(ENOSPC);
  return next<int(int, off_t)>("ftruncate")(file, length);
}

extern "C" int open(const char* path, int flags, ...) {
  if (of_another_process(path) && refuses("join")) return refuse(EACCES);
  std::va_list rest;
  va_start(rest, flags);
  const int mode = va_arg(rest, int);
  va_end(rest);
  return next<int(const char*, int, ...)>("open")(path, flags, mode);
}
