#include "src/job/halt_file.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "tests/temp_dir.hpp"

namespace banyan::job {
namespace {

TEST(HaltFile, WhatIsWrittenIsRead) {
  const test::TempDir run;
  for (const std::int64_t step :
       {std::int64_t{0}, std::int64_t{1}, std::int64_t{1200}, std::numeric_limits<std::int64_t>::max()}) {
    write_halt(run.path(), {step});
    const auto halt = read_halt(run.path());
    ASSERT_TRUE(halt);
    EXPECT_EQ(halt->at_step, step);
  }
  EXPECT_TRUE(remove_halt(run.path()));
  EXPECT_FALSE(remove_halt(run.path()));
  EXPECT_FALSE(read_halt(run.path()));
}

TEST(HaltFile, IsDueFromItsStepOn) {
  EXPECT_TRUE(Halt{}.due(0));
  EXPECT_FALSE(Halt{7}.due(6));
  EXPECT_TRUE(Halt{7}.due(7));
  EXPECT_TRUE(Halt{7}.due(8));
}

TEST(HaltFile, AnythingElseMeansNow) {
  for (const char* text : {"", "now", "please", "at-step", "at-step ", "at-step x", "at-step 0", "at-step -3",
                           "at-step 5x", "\n\n", "at-step 99999999999999999999"})
    EXPECT_EQ(parse_halt(text).at_step, 0) << text;
  EXPECT_EQ(parse_halt("at-step 2k").at_step, 2000) << "as --at-step takes it";
  EXPECT_EQ(parse_halt("at-step 5\nand more\n").at_step, 5);
}

TEST(HaltFile, WhateverIsThereInItsPlaceMeansNow) {
  const test::TempDir run;
  std::ofstream(run / "stop") << std::string(100000, 'x');
  EXPECT_TRUE(read_halt(run.path())->due(0));
  EXPECT_TRUE(remove_halt(run.path()));
  std::filesystem::create_directories(run / "stop" / "deep");
  EXPECT_TRUE(read_halt(run.path())->due(0));
  EXPECT_TRUE(remove_halt(run.path()));

  std::ofstream(run / "elsewhere") << "at-step 5\n";
  std::filesystem::create_symlink(run / "elsewhere", run / "stop");
  EXPECT_TRUE(read_halt(run.path())->due(0)) << "the link is not followed";
  EXPECT_TRUE(remove_halt(run.path()));
  EXPECT_TRUE(std::filesystem::exists(run / "elsewhere"));
}

}  // namespace
}  // namespace banyan::job
