#include "tests/fault/fault_plan.hpp"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace banyan::fault {
namespace {

struct Error {
  const char* name;
  int value;
};
constexpr Error kErrors[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO},       {"EDQUOT", EDQUOT}, {"EFBIG", EFBIG},
                             {"EACCES", EACCES}, {"EROFS", EROFS},   {"ESTALE", ESTALE}, {"EINTR", EINTR},
                             {"EAGAIN", EAGAIN}, {"ENOENT", ENOENT}, {"ENOMEM", ENOMEM}, {"ENOLCK", ENOLCK},
                             {"ENOSYS", ENOSYS}};

/// Rank of this process in its job; "" outside of one.
std::string own_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"})
    if (const char* rank = getenv(name)) return rank;
  return "";
}

int open_plain(const char* path, int flags) {
  return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600));
}

}  // namespace

std::string absolute(const std::string& path) {
  if (path.empty() || path[0] == '/') return path;
  char cwd[4096];
  return std::string(getcwd(cwd, sizeof cwd)) + "/" + path;
}

FaultPlan& FaultPlan::get() {
  static FaultPlan* plan = new FaultPlan;  // files are closed until the very end of the process
  return *plan;
}

FaultPlan::FaultPlan() {
  if (const char* under = getenv("FAULT_UNDER")) {
    watching_ = true;
    under_ = under;
  }
  if (const char* trace = getenv("FAULT_TRACE")) {
    const int fd = open_plain(trace, O_WRONLY | O_CREAT | O_APPEND);
    if (fd < 0) abort();
    trace_ = fcntl(fd, F_DUPFD_CLOEXEC, 900);  // out of the way of the program's own
    syscall(SYS_close, fd);
  }
  if (const char* pids = getenv("FAULT_PIDS"))
    syscall(SYS_close, open_plain((std::string(pids) + "/" + std::to_string(getpid())).c_str(), O_WRONLY | O_CREAT));
  const char* rank = getenv("FAULT_RANK");
  if (rank && !own_rank().empty() && own_rank() != rank) return;
  if (const char* when = getenv("FAULT_WHEN")) when_ = when;
  if (const char* late = getenv("FAULT_LATE")) late_ = atof(late);
  if (const char* speed = getenv("FAULT_SPEED")) speed_ = atof(speed);
  const char* fault = getenv("FAULT");
  if (!fault) return;
  const std::string text = fault;
  const std::size_t a = text.find(':'), b = text.find(':', a + 1);
  call_ = text.substr(0, a);
  n_ = atol(text.substr(a + 1, b - a - 1).c_str());
  action_ = text.substr(b + 1);
  armed_ = true;
}

bool FaultPlan::ours(const std::string& path) const {
  if (!watching_) return false;
  const std::string full = absolute(path);
  return full == under_ || full.rfind(under_ + "/", 0) == 0;
}

bool FaultPlan::ours(int fd) {
  if (!watching_) return false;
  std::lock_guard<std::mutex> lock(mutex_);
  return paths_.count(fd) > 0;
}

std::string FaultPlan::path_of(int fd) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto at = paths_.find(fd);
  return at == paths_.end() ? "" : at->second;
}

/// Every process that has written itself down, this one last: a node that loses its power.
void FaultPlan::kill_all() {
  const char* pids = getenv("FAULT_PIDS");
  if (!pids) abort();
  if (DIR* list = opendir(pids)) {
    while (const dirent* entry = readdir(list))
      if (const pid_t pid = atoi(entry->d_name); pid > 1 && pid != getpid()) kill(pid, SIGKILL);
  }
}

bool FaultPlan::due() const { return when_.empty() || syscall(SYS_faccessat, AT_FDCWD, when_.c_str(), F_OK) == 0; }

bool FaultPlan::strikes(const char* call, bool ours, Twist* twist, int fd) {
  if (!armed_ || !ours || (call_ != "any" && call_ != call)) return false;
  std::unique_lock<std::mutex> lock(mutex_);
  if (!due()) return false;
  if (++count_ != n_ && n_ != 0) return false;
  if (const char* reached = getenv("FAULT_REACHED")) syscall(SYS_close, open_plain(reached, O_CREAT | O_WRONLY));
  if (action_ == "killall") kill_all();
  if (action_ == "kill" || action_ == "killall") {
    kill(getpid(), SIGKILL);
    for (;;) pause();
  }
  if (action_ == "stop") {
    lock.unlock();
    // To this thread: stopped by another one, it could still make the call.
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGSTOP);
    return false;
  }
  if (action_ == "pause") {
    lock.unlock();
    sleep(8);
    return false;
  }
  if (action_ == "hang") {
    lock.unlock();
    for (;;) pause();
  }
  if (action_ == "short" || action_ == "flip") {
    if (twist) *twist = action_ == "short" ? Twist::kShort : Twist::kFlip;
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

bool FaultPlan::fails_late(int fd) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (late_fd_ < 0 || fd != late_fd_) return false;
  late_fd_ = -1;
  return true;
}

bool FaultPlan::hidden(const std::string& path) {
  if (late_ <= 0 || !ours(path)) return false;
  std::lock_guard<std::mutex> lock(mutex_);
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const double time = static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  if (time - first_look_.emplace(absolute(path), time).first->second >= late_) return false;
  if (const char* reached = getenv("FAULT_REACHED")) syscall(SYS_close, open_plain(reached, O_CREAT | O_WRONLY));
  errno = ENOENT;
  return true;
}

void FaultPlan::made(const std::string& path) {
  if (late_ <= 0 || !ours(path)) return;
  std::lock_guard<std::mutex> lock(mutex_);
  first_look_[absolute(path)] = -late_;
}

void FaultPlan::slow_down(std::size_t bytes) {
  // In slices, since the storage may recover meanwhile.
  for (double rest = speed_ > 0 ? static_cast<double>(bytes) / speed_ : 0; rest > 0 && due(); rest -= 0.02)
    usleep(static_cast<useconds_t>(1e6 * (rest < 0.02 ? rest : 0.02)));
}

void FaultPlan::opened(int fd, const std::string& path, bool created, bool truncated) {
  if (!watching_ || fd < 0) return;
  const std::string full = absolute(path);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    paths_.erase(fd);  // closed by someone who does not tell
    if (full != under_ && full.rfind(under_ + "/", 0) != 0) return;
    paths_[fd] = full;
  }
  TraceHead head;
  head.kind = TraceKind::kOpen;
  head.fd = fd;
  head.offset = (created ? kCreated : 0) | (truncated ? kTruncated : 0);
  append(head, full, "", nullptr, 0);
}

void FaultPlan::closed(int fd) {
  if (!watching_) return;
  record(TraceKind::kClose, fd, 0);
  std::lock_guard<std::mutex> lock(mutex_);
  paths_.erase(fd);
}

void FaultPlan::record(TraceKind kind, int fd, std::int64_t offset, const void* data, std::size_t bytes) {
  if (trace_ < 0 || !ours(fd)) return;
  TraceHead head;
  head.kind = kind;
  head.fd = fd;
  head.offset = offset;
  append(head, "", "", data, bytes);
}

void FaultPlan::record(TraceKind kind, const std::string& path, const std::string& second) {
  if (trace_ < 0 || !ours(second.empty() ? path : second)) return;
  TraceHead head;
  head.kind = kind;
  append(head, absolute(path), second.empty() ? "" : absolute(second), nullptr, 0);
}

void FaultPlan::append(TraceHead head, const std::string& path, const std::string& second, const void* data,
                       std::size_t bytes) {
  if (trace_ < 0) return;
  const int error = errno;
  head.pid = getpid();
  head.path_bytes = static_cast<std::uint32_t>(path.size());
  head.second_bytes = static_cast<std::uint32_t>(second.size());
  head.data_bytes = bytes;
  const iovec parts[] = {{&head, sizeof head},
                         {const_cast<char*>(path.data()), path.size()},
                         {const_cast<char*>(second.data()), second.size()},
                         {const_cast<void*>(data), bytes}};
  const auto total = static_cast<long>(sizeof head + path.size() + second.size() + bytes);
  if (syscall(SYS_writev, trace_, parts, 4) != total) abort();  // a trace with a hole proves nothing
  errno = error;
}

}  // namespace banyan::fault
