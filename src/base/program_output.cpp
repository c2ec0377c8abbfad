#include "src/base/program_output.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

extern char** environ;

namespace banyan {
namespace {

/// A program that runs; killed and waited for in any case.
class Child {
 public:
  /// `out` becomes its standard output.
  Child(const std::vector<std::string>& words, int out) {
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    // Signals that this program blocks or ignores are not the other one's affair.
    posix_spawnattr_t how;
    posix_spawnattr_init(&how);
    sigset_t none, usual;
    sigemptyset(&none);
    sigfillset(&usual);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setsigdefault(&how, &usual);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    std::vector<char*> arguments;
    for (const std::string& w : words) arguments.push_back(const_cast<char*>(w.c_str()));
    arguments.push_back(nullptr);
    error_ = ::posix_spawnp(&id_, arguments[0], &files, &how, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&how);
  }
  ~Child() {
    if (error_ == 0 && !ended_) {
      ::kill(id_, SIGKILL);
      while (::waitpid(id_, &status_, 0) < 0 && errno == EINTR) {
      }
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  int error() const { return error_; }
  bool ended() {
    if (!ended_) ended_ = ::waitpid(id_, &status_, WNOHANG) == id_;
    return ended_;
  }
  int status() const { return status_; }

 private:
  pid_t id_ = -1;
  int error_ = 0, status_ = 0;
  bool ended_ = false;
};

struct Pipe {
  std::array<int, 2> ends{-1, -1};
  Pipe() {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) ends = {-1, -1};
  }
  ~Pipe() {
    for (int i : {0, 1}) shut(i);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void shut(int i) {
    int& end = ends[static_cast<std::size_t>(i)];
    if (end >= 0) ::close(end);
    end = -1;
  }
};

}  // namespace

std::optional<std::string> program_output(const std::vector<std::string>& words, Seconds deadline, std::size_t most,
                                          std::string& why) {
  Pipe pipe;
  if (pipe.ends[0] < 0) {
    why = fmt::format("{} cannot be started: {}", words[0], std::strerror(errno));
    return std::nullopt;
  }
  Child child(words, pipe.ends[1]);
  pipe.shut(1);
  if (child.error() != 0) {
    why = fmt::format("{} cannot be started: {}", words[0], std::strerror(child.error()));
    return std::nullopt;
  }
  using Time = std::chrono::steady_clock;
  const auto end = Time::now() + std::chrono::duration_cast<Time::duration>(deadline);
  const auto late = [&] {
    why = fmt::format("{} was not done within {} s", words[0], deadline.count());
    return std::nullopt;
  };
  std::string text;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Time::now()).count();
    if (left <= 0) return late();
    pollfd ready{pipe.ends[0], POLLIN, 0};
    if (::poll(&ready, 1, static_cast<int>(left)) <= 0) continue;
    std::array<char, 65536> piece;
    const ssize_t got = ::read(pipe.ends[0], piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(piece.data(), static_cast<std::size_t>(got));
    if (text.size() <= most) continue;
    why = fmt::format("{} prints more than {} bytes", words[0], most);
    return std::nullopt;
  }
  while (!child.ended()) {
    if (Time::now() >= end) return late();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  if (WIFEXITED(child.status()) && WEXITSTATUS(child.status()) == 0) return text;
  why = WIFEXITED(child.status()) ? fmt::format("{} ended with {}", words[0], WEXITSTATUS(child.status()))
                                  : fmt::format("{} was killed by signal {}", words[0], WTERMSIG(child.status()));
  return std::nullopt;
}

}  // namespace banyan
