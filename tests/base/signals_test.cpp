#include "src/base/signals.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <fstream>
#include <functional>
#include <sstream>

#include "tests/temp_dir.hpp"

namespace banyan::signals {
namespace {

using test::TempDir;

/// Runs `body` in a child and returns its wait status.
int in_child(const std::function<void()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    install();
    body();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

std::string content(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST(Signals, StopRequestsAreCountedAndTheThirdIsDeadly) {
  EXPECT_EQ(in_child([] {
              raise(SIGUSR1);
              if (stop_requests() != 1 || last_signal() != SIGUSR1) _exit(1);
              raise(SIGTERM);
              if (stop_requests() != 2 || last_signal() != SIGTERM) _exit(2);
            }),
            0);
  const int status = in_child([] {
    raise(SIGINT);
    raise(SIGINT);
    raise(SIGINT);
    _exit(3);
  });
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGINT);
}

TEST(Signals, ACrashLeavesItsRecordAndDiesOfItsSignal) {
  for (const int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL}) {
    const TempDir dir;
    const std::string path = (dir.path() / "cause.json").string();
    const int status = in_child([&] {
      set_crash_record(path, "{\"message\":\"died of ", "\"}\n");
      raise(signal);
    });
    EXPECT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(WTERMSIG(status), signal);
    EXPECT_EQ(content(path), std::string("{\"message\":\"died of ") + name_of(signal) + "\"}\n");
  }
}

TEST(Signals, AnExistingRecordIsKept) {
  const TempDir dir;
  const std::string path = (dir.path() / "cause.json").string();
  std::ofstream(path) << "first";
  in_child([&] {
    set_crash_record(path, "second", "");
    abort();
  });
  EXPECT_EQ(content(path), "first");
}

TEST(Signals, ATerminatedProgramLeavesARecordToo) {
  const TempDir dir;
  const std::string path = (dir.path() / "cause.json").string();
  in_child([&] {
    close(STDERR_FILENO);
    set_crash_record(path, "a", "b");
    std::terminate();
  });
  EXPECT_EQ(content(path), "aSIGABRTb");
}

TEST(Signals, AProcessThatDoesNotEndInTimeIsEnded) {
  EXPECT_EQ(WEXITSTATUS(in_child([] {
              exit_by(1, 69);
              for (;;) pause();
            })),
            69);
}

TEST(Signals, ABrokenPipeAndALimitOnFilesAreErrorsOfWrite) {
  EXPECT_EQ(in_child([] {
              int ends[2];
              if (pipe(ends) != 0) _exit(1);
              close(ends[0]);
              if (write(ends[1], "x", 1) != -1 || errno != EPIPE) _exit(2);
              const TempDir dir;
              const int fd = open((dir.path() / "f").c_str(), O_WRONLY | O_CREAT, 0600);
              const rlimit one{1, 1};
              setrlimit(RLIMIT_FSIZE, &one);
              if (write(fd, "ab", 2) != 1) _exit(3);
              if (write(fd, "c", 1) != -1 || errno != EFBIG) _exit(4);
            }),
            0);
}

}  // namespace
}  // namespace banyan::signals
