#include "src/base/program_output.hpp"

#include <gtest/gtest.h>

namespace banyan {
namespace {

std::optional<std::string> run(const std::string& script, std::string& why, double deadline = 20,
                               std::size_t most = 1 << 20) {
  return program_output({"sh", "-c", script}, Seconds(deadline), most, why);
}

TEST(ProgramOutput, GivesWhatAProgramPrints) {
  std::string why;
  EXPECT_EQ(run("echo one; echo two; echo lost >&2", why), "one\ntwo\n");
  EXPECT_EQ(run("cat", why), "") << "it has nothing to read";
  EXPECT_EQ(run("head -c 300000 /dev/zero", why)->size(), 300000u);
}

TEST(ProgramOutput, SaysWhyThereIsNone) {
  std::string why;
  EXPECT_FALSE(program_output({"there-is-no-such-program"}, Seconds{20}, 10, why));
  EXPECT_EQ(why, "there-is-no-such-program cannot be started: No such file or directory");
  EXPECT_FALSE(run("echo half; exit 3", why));
  EXPECT_EQ(why, "sh ended with 3");
  EXPECT_FALSE(run("kill -TERM $$", why));
  EXPECT_EQ(why, "sh was killed by signal 15");
  EXPECT_FALSE(run("yes", why, 20, 1000));
  EXPECT_EQ(why, "sh prints more than 1000 bytes");
  EXPECT_FALSE(run("exec sleep 1000", why, 0.05));
  EXPECT_EQ(why, "sh was not done within 0.05 s");
  EXPECT_FALSE(run("exec >&-; exec sleep 1000", why, 0.05)) << "it has closed its output and goes on";
  EXPECT_EQ(why, "sh was not done within 0.05 s");
}

}  // namespace
}  // namespace banyan
