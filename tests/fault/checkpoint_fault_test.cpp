// Runs a small job again and again, each time with another system call going wrong, and asks after each: is what was
// announced as committed still there, does the next start find it, are the values right, did nobody hang.
//
// Argument 1: the victim, argument 2: the fault library, argument 3: "every" or "some" of the calls where there are
// hundreds.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/temp_dir.hpp"

namespace {

namespace fs = std::filesystem;
using banyan::test::TempDir;

std::string victim, library;
bool some = false;

struct Ended {
  int code = -1;       ///< exit code, or 128 + signal
  int resumed = -2;    ///< the step it went on from
  int committed = -1;  ///< the last step it announced
  int failed = 0;      ///< saves that failed cleanly
  std::string output;
  bool reached = false;  ///< the fault struck
};

/// Runs the victim, with a fault unless it is empty.  `limit` is a deadline against hanging, not a measurement.
Ended run(const fs::path& directory, const std::string& fault, const std::vector<std::string>& steps,
          long file_limit = 0) {
  const fs::path reached = directory.string() + ".reached";
  fs::remove(reached);
  int out[2];
  EXPECT_EQ(::pipe(out), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    ::dup2(out[1], STDOUT_FILENO);
    ::dup2(::open("/dev/null", O_WRONLY), STDERR_FILENO);
    ::close(out[0]);
    if (!fault.empty()) {
      ::setenv("LD_PRELOAD", library.c_str(), 1);
      // Of a build with sanitizers, where it is not the first; beside what scripts/sanitize.sh asks for.
      const char* asked = ::getenv("ASAN_OPTIONS");
      ::setenv("ASAN_OPTIONS", ((asked ? std::string(asked) + ":" : "") + "verify_asan_link_order=0").c_str(), 1);
      ::setenv("FAULT", fault.c_str(), 1);
      ::setenv("FAULT_UNDER", directory.c_str(), 1);
      ::setenv("FAULT_REACHED", reached.c_str(), 1);
    }
    const std::string where = directory.string();
    std::vector<const char*> args{victim.c_str(), where.c_str(), "2"};
    for (const std::string& s : steps) args.push_back(s.c_str());
    args.push_back(nullptr);
    if (file_limit > 0) {
      const std::string line = "ulimit -f " + std::to_string(file_limit) + "; exec \"$0\" \"$@\"";
      std::vector<const char*> shell{"sh", "-c", line.c_str()};
      shell.insert(shell.end(), args.begin(), args.end());
      ::execvp("sh", const_cast<char**>(shell.data()));
    }
    ::execv(victim.c_str(), const_cast<char**>(args.data()));
    ::_exit(127);
  }
  ::close(out[1]);
  Ended e;
  std::array<char, 4096> buffer;
  for (ssize_t n; (n = ::read(out[0], buffer.data(), buffer.size())) > 0;)
    e.output.append(buffer.data(), static_cast<std::size_t>(n));
  ::close(out[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  e.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  e.reached = fs::exists(reached);
  std::istringstream lines(e.output);
  for (std::string word; lines >> word;) {
    std::string rest;
    int step = 0;
    if (word == "resumed") lines >> e.resumed;
    if (word == "committed") lines >> e.committed;
    if (word == "failed") {
      lines >> step;
      ++e.failed;
    }
    std::getline(lines, rest);
  }
  return e;
}

/// Names in ckpt/ that should not stay.  What waits in .trash is found by the next removal or start.
std::vector<std::string> left_overs(const fs::path& directory, bool trash_too) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory / "ckpt")) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".tmp") || (trash_too && name.starts_with(".trash"))) names.push_back(name);
  }
  return names;
}

/// Memory where possible: these tests are about order and errors, not about a disk.
class CheckpointFaults : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (fs::is_directory("/dev/shm") && ::access("/dev/shm", W_OK) == 0) ::setenv("TMPDIR", "/dev/shm", 1);
  }
  void SetUp() override {
    ASSERT_EQ(run(dir / "template", "", {"1"}).committed, 1);
    ASSERT_EQ(run(dir / "template", "", {"2"}).committed, 2);
  }
  /// A copy of a run that has committed steps 1 and 2.
  fs::path fresh() {
    const fs::path copy = dir / ("run" + std::to_string(++runs));
    fs::copy(dir / "template", copy, fs::copy_options::recursive);
    return copy;
  }
  /// The next start, without a fault: goes on from what was announced or later, and leaves no litter.
  void expect_recovery(const fs::path& directory, const Ended& broken, const std::string& fault) {
    const Ended next = run(directory, "", {"9"});
    EXPECT_EQ(next.code, 0) << fault << "\nbroken run:\n" << broken.output << "next start:\n" << next.output;
    EXPECT_GE(next.resumed, std::max(2, broken.committed)) << fault << "\n" << broken.output << next.output;
    EXPECT_EQ(next.committed, 9) << fault << "\n" << next.output;
    EXPECT_EQ(left_overs(directory, true), std::vector<std::string>{}) << fault;
    fs::remove_all(directory);
    fs::remove(directory.string() + ".reached");
  }
  /// Every call of a kind in turn, until the program makes no more of them; `stride`: every so many, where some do.
  void every(const std::string& call, const std::string& action, bool dies, int stride = 1) {
    int n = 1, faults = 0;
    for (bool reached = true; reached && n < 5000; n += some ? stride : 1) {
      const std::string fault = call + ":" + std::to_string(n) + ":" + action;
      const fs::path directory = fresh();
      const Ended e = run(directory, fault, {"3", "4"});
      reached = e.reached;
      faults += reached;
      if (!reached) {
        EXPECT_EQ(e.code, 0) << fault << "\n" << e.output;
      } else if (dies) {
        EXPECT_EQ(e.code, 128 + SIGKILL) << fault << "\n" << e.output;
      } else {
        // It went on, or ended before its first step with the code for storage.
        EXPECT_TRUE(e.code == 0 || (e.code == 74 && e.committed == -1)) << fault << " code " << e.code << "\n"
                                                                        << e.output;
        EXPECT_LE(e.failed, 1) << fault << "\n" << e.output;
        if (e.code == 0) {
          EXPECT_GE(e.committed, 3) << fault << "\n" << e.output;
          if (call != "unlink") {
            EXPECT_EQ(left_overs(directory, false), std::vector<std::string>{}) << fault;
          }
        }
      }
      expect_recovery(directory, e, fault);
      if (HasFatalFailure() || HasNonfatalFailure()) return;
    }
    EXPECT_GT(faults, 0) << call << " is never called";
    std::printf("%s %s: %d faults injected, 0 promises broken\n", call.c_str(), action.c_str(), faults);
  }
  TempDir dir;
  int runs = 0;
};

// K2: kill -9 at every call.
TEST_F(CheckpointFaults, KillAtEveryCall) { every("any", "kill", true, 11); }
// F1, F2, F3: errors.
TEST_F(CheckpointFaults, DiskFullAtEveryWrite) { every("pwrite", "ENOSPC", false); }
TEST_F(CheckpointFaults, DiskFullAtEverySmallWrite) { every("write", "ENOSPC", false); }
TEST_F(CheckpointFaults, DiskFullWhenReserving) { every("fallocate", "ENOSPC", false); }
TEST_F(CheckpointFaults, DiskFullWhenExtending) { every("ftruncate", "ENOSPC", false); }
TEST_F(CheckpointFaults, QuotaAtEveryMkdir) { every("mkdir", "EDQUOT", false); }
TEST_F(CheckpointFaults, IoErrorAtEveryFsync) { every("fsync", "EIO", false); }
TEST_F(CheckpointFaults, IoErrorAtEveryClose) { every("close", "EIO", false, 3); }
TEST_F(CheckpointFaults, IoErrorAtEveryRead) { every("pread", "EIO", false, 5); }
TEST_F(CheckpointFaults, IoErrorAtEveryRename) { every("rename", "EIO", false); }
TEST_F(CheckpointFaults, StaleHandleAtEveryOpen) { every("open", "ESTALE", false, 5); }
TEST_F(CheckpointFaults, IoErrorAtEveryUnlink) { every("unlink", "EIO", false); }
// F3: what must simply be continued.
TEST_F(CheckpointFaults, ShortWrites) { every("pwrite", "short", false, 5); }
TEST_F(CheckpointFaults, InterruptedWrites) { every("write", "EINTR", false); }
// F4: a write that succeeds and an fsync that tells later.
TEST_F(CheckpointFaults, FsyncTellsLater) { every("pwrite", "late", false, 3); }

// F1 on a real full disk.
TEST_F(CheckpointFaults, RealFullDisk) {
  if (::geteuid() != 0) GTEST_SKIP() << "SKIPPED LOUDLY: needs root to mount a small tmpfs";
  const fs::path disk = dir / "disk";
  fs::create_directory(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=512k") != 0)
    GTEST_SKIP() << "SKIPPED LOUDLY: this machine lets nobody mount a tmpfs";
  const fs::path directory = disk / "run";
  EXPECT_EQ(run(directory, "", {"1"}).committed, 1);
  std::ofstream(disk / "filler") << std::string(1 << 20, 'x');  // takes all that is left
  const Ended full = run(directory, "", {"2"});
  EXPECT_NE(full.committed, 2);
  fs::remove(disk / "filler");
  const Ended freed = run(directory, "", {"2"});
  EXPECT_EQ(freed.resumed, 1) << full.output << freed.output;
  EXPECT_EQ(freed.committed, 2) << freed.output;
  ::umount2(disk.c_str(), MNT_DETACH);
}

// EFBIG and SIGXFSZ.
TEST_F(CheckpointFaults, RealFileSizeLimit) {
  const fs::path directory = fresh();
  const Ended limited = run(directory, "", {"3", "4"}, 4);  // blocks of 512 or 1024 bytes: shards are larger
  EXPECT_EQ(limited.code, 0) << limited.output;
  EXPECT_EQ(limited.failed, 2) << limited.output;
  EXPECT_EQ(left_overs(directory, true), std::vector<std::string>{});
  expect_recovery(directory, limited, "ulimit -f");
}

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (argc != 4) return 2;
  victim = argv[1];
  library = argv[2];
  some = std::string(argv[3]) == "some";
  return RUN_ALL_TESTS();
}
