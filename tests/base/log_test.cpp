#include "src/base/log.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <regex>
#include <sstream>
#include <string>

#include "src/base/error.hpp"
#include "src/base/host.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::log {
namespace {

using test::TempDir;

std::string content(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

class Log : public ::testing::Test {
 protected:
  void TearDown() override { setup({}); }
  TempDir dir_;
  std::string file_ = (dir_.path() / "log.txt").string();
};

TEST_F(Log, RankZeroSpeaksAndWritesTheFile) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  setup({.file = file_, .rank = 0, .ranks = 4});
  info("step {}", 7);
  debug("unseen");
  warning("slow");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "step 7\n");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "rank 0 " + host_name() + ": warning: slow\n");
  const std::regex lines("[-0-9: ]+ info: step 7\n[-0-9: ]+ warning: slow\n");
  EXPECT_TRUE(std::regex_match(content(file_), lines)) << content(file_);
}

TEST_F(Log, OtherRanksOnlyWarn) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  setup({.level = Level::kDebug, .file = file_, .rank = 3, .ranks = 4});
  info("unseen");
  error("disk full");
  EXPECT_FALSE(enabled(Level::kInfo));
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "rank 3 " + host_name() + ": error: disk full\n");
  EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(Log, WithoutATerminalThereIsNoLiveLineAndNoColour) {
  testing::internal::CaptureStdout();
  setup({});
  EXPECT_FALSE(on_terminal());
  live_line("50 %");
  info("done");
  end_live_line(true);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "done\n");
}

TEST_F(Log, OnATerminalALineClearsTheLiveLineFirst) {
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  ASSERT_GE(master, 0);
  ASSERT_EQ(grantpt(master), 0);
  ASSERT_EQ(unlockpt(master), 0);
  const int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
  ASSERT_GE(terminal, 0);
  setenv("TERM", "xterm", 1);
  const char* launcher = getenv("OMPI_COMM_WORLD_RANK");
  if (launcher) unsetenv("OMPI_COMM_WORLD_RANK");
  fflush(stdout);
  const int saved = dup(STDOUT_FILENO);
  dup2(terminal, STDOUT_FILENO);
  setup({});
  const bool recognised = on_terminal();
  live_line("50 %");
  info("saved");
  end_live_line();
  fflush(stdout);
  dup2(saved, STDOUT_FILENO);
  close(saved);
  close(terminal);
  // A terminal hands over in pieces what was written to it; when nobody has it open any more, an error ends them.
  std::string text;
  char piece[512];
  for (ssize_t n = 0; (n = read(master, piece, sizeof piece)) > 0;) text.append(piece, static_cast<std::size_t>(n));
  close(master);
  EXPECT_TRUE(recognised);
  EXPECT_EQ(text,
            "\r\x1b[2K50 %"
            "\r\x1b[2Ksaved\r\n"
            "\r\x1b[2K50 %"
            "\r\x1b[2K");
}

TEST_F(Log, AFileThatCannotBeOpenedIsAnIoError) {
  EXPECT_THROW(setup({.file = (dir_.path() / "log.txt" / "x").string() + "/"}), IoError);
}

// What somebody put in the log's place is neither followed nor waited for.
TEST_F(Log, OnlyARegularFileIsWrittenTo) {
  const std::filesystem::path target = dir_.path() / "target", link = dir_.path() / "link", pipe = dir_.path() / "pipe";
  std::ofstream(target) << "theirs";
  std::filesystem::create_symlink(target, link);
  EXPECT_THROW(setup({.file = link.string()}), IoError);
  EXPECT_EQ(std::filesystem::file_size(target), 6U);
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THROW(setup({.file = pipe.string()}), IoError);
  EXPECT_THROW(setup({.file = dir_.path().string()}), IoError);
}

TEST_F(Log, TheFileIsNotForOthers) {
  const mode_t before = ::umask(0);
  setup({.file = (dir_.path() / "mode.txt").string()});
  ::umask(before);
  struct stat s {};
  ASSERT_EQ(::stat((dir_.path() / "mode.txt").c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 0777U, 0640U);
}

}  // namespace
}  // namespace banyan::log
