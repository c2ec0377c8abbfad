#include "src/base/signals.hpp"

#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>

namespace banyan::signals {
namespace {

static_assert(std::atomic<int>::is_always_lock_free);
std::atomic<int> requests{0};
std::atomic<int> last{0};

constexpr std::array<int, 3> kStop{SIGUSR1, SIGTERM, SIGINT};
constexpr std::array<int, 5> kCrash{SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL};

/// Texts of the crash record.  Two of them, so that one can be replaced while the handler may read the other.
struct CrashText {
  std::array<char, 4096> path{}, before{}, after{};
};
std::array<CrashText, 2> texts;
std::atomic<int> active{-1};  // index into texts; -1: none
std::atomic_flag crashing = ATOMIC_FLAG_INIT;

void write_all(int fd, const char* text) {
  std::size_t left = std::strlen(text);
  while (left > 0) {
    const ssize_t n = ::write(fd, text, left);
    if (n <= 0) return;
    text += n;
    left -= static_cast<std::size_t>(n);
  }
}

void die_of(int signal) {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(signal, &action, nullptr);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  raise(signal);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void on_stop(int signal) {
  const int saved = errno;
  last.store(signal);
  if (requests.fetch_add(1) + 1 >= 3) die_of(signal);
  errno = saved;
}

void on_crash(int signal) {
  if (!crashing.test_and_set()) {
    const int index = active.load();
    if (index >= 0) {
      const CrashText& t = texts[static_cast<std::size_t>(index)];
      const int fd = open(t.path.data(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
      if (fd >= 0) {
        write_all(fd, t.before.data());
        write_all(fd, name_of(signal));
        write_all(fd, t.after.data());
        fsync(fd);
        close(fd);
      }
    }
  }
  die_of(signal);
}

/// What a thread writes down about itself.  `asked` is the thread that may write, kWriting while it does.
struct Sample {
  std::array<void*, 96> frames{};
  int depth = 0;
  std::array<char, 2048> sections{};
};
constexpr int kNobody = 0, kWriting = -1;
constexpr int kOwnFrames = 2;  // of the handler and of the kernel's call of it
Sample sample;
std::atomic<int> asked{kNobody};
std::atomic<int> exit_code_by{0};

int sample_signal() { return SIGRTMIN + 5; }
int this_thread() { return static_cast<int>(::syscall(SYS_gettid)); }

void on_sample(int) {
  const int saved = errno;
  int self = this_thread();
  if (asked.compare_exchange_strong(self, kWriting)) {
    sample.depth = ::backtrace(sample.frames.data(), static_cast<int>(sample.frames.size()));
    Section::copy_trail(sample.sections.data(), sample.sections.size());
    asked.store(kNobody);
  }
  errno = saved;
}

void on_alarm(int) { ::_exit(exit_code_by.load()); }

void copy(std::array<char, 4096>& to, std::string_view from) {
  const std::size_t n = std::min(from.size(), to.size() - 1);
  std::copy_n(from.data(), n, to.data());
  to[n] = '\0';
}

}  // namespace

void install() {
  // Handlers run on a stack of their own.  A stack overflow arrives as SIGSEGV with no stack left; and oneDNN's
  // generated sgemm keeps values below the stack pointer, further down than the 128 bytes that the kernel spares, so
  // that a signal frame pushed there while it runs destroys them (seen with oneDNN 2.6.3: the heap was damaged soon
  // after).
  static std::array<char, 64 * 1024> stack;
  stack_t alternate{};
  alternate.ss_sp = stack.data();
  alternate.ss_size = stack.size();
  sigaltstack(&alternate, nullptr);

  struct sigaction action {};
  sigemptyset(&action.sa_mask);
  action.sa_handler = on_stop;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  for (const int s : kStop) sigaction(s, &action, nullptr);
  action.sa_handler = on_crash;
  action.sa_flags = SA_ONSTACK;
  for (const int s : kCrash) sigaction(s, &action, nullptr);

  // The first call of backtrace loads a library, which a handler must not do.
  void* nothing = nullptr;
  ::backtrace(&nothing, 1);
  action.sa_handler = on_sample;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigaction(sample_signal(), &action, nullptr);
  action.sa_handler = on_alarm;
  sigaction(SIGALRM, &action, nullptr);

  action.sa_handler = SIG_IGN;
  action.sa_flags = 0;
  sigaction(SIGPIPE, &action, nullptr);
  sigaction(SIGXFSZ, &action, nullptr);
}

int stop_requests() { return requests.load(); }
int last_signal() { return last.load(); }

const char* name_of(int signal) {
  switch (signal) {
    case SIGUSR1:
      return "SIGUSR1";
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    case SIGSEGV:
      return "SIGSEGV";
    case SIGABRT:
      return "SIGABRT";
    case SIGBUS:
      return "SIGBUS";
    case SIGFPE:
      return "SIGFPE";
    case SIGILL:
      return "SIGILL";
    case SIGKILL:
      return "SIGKILL";
    default:
      return "a signal";
  }
}

void request_stop(int signal) {
  last.store(signal);
  requests.fetch_add(1);
}

void reset() {
  requests.store(0);
  last.store(0);
}

void set_crash_record(std::string_view path, std::string_view before, std::string_view after) {
  if (path.empty()) {
    active.store(-1);
    return;
  }
  const int next = active.load() == 0 ? 1 : 0;
  CrashText& t = texts[static_cast<std::size_t>(next)];
  copy(t.path, path);
  copy(t.before, before);
  copy(t.after, after);
  active.store(next);
}

bool where_is(int tid, Seconds limit, Whereabouts& out) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  if (asked.load() != kNobody) return false;  // an earlier one is stuck in writing
  asked.store(tid);
  if (::syscall(SYS_tgkill, ::getpid(), tid, sample_signal()) != 0) {
    asked.store(kNobody);
    return false;
  }
  const auto end = Clock::now() + limit;
  for (Backoff backoff = Backoff::yielding(); asked.load() != kNobody; backoff.pause()) {
    if (Clock::now() < end) continue;
    int still = tid;  // takes the question back, unless it is being answered
    if (asked.compare_exchange_strong(still, kNobody) || still == kWriting) return false;
  }
  const int first = std::min(kOwnFrames, sample.depth);
  out.frames.assign(sample.frames.begin() + first, sample.frames.begin() + sample.depth);
  out.sections = sample.sections.data();
  return true;
}

void exit_by(unsigned seconds, int exit_code) {
  exit_code_by.store(exit_code);
  ::alarm(seconds);
}

}  // namespace banyan::signals
