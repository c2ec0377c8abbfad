#include "src/job/watchdog.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "src/base/error.hpp"
#include "src/base/signals.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::job {
namespace {

std::string content(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST(Watchdog, PhasesNest) {
  comm::run_loopback(1, [](comm::World& world) {
    Watchdog dog(world);
    const InPhase setup(dog, Phase::kSetup);
    EXPECT_EQ(Section::trail(), "setup");
    {
      const InPhase load(dog, Phase::kLoad);
      EXPECT_EQ(Section::trail(), "load (in setup)");
      EXPECT_EQ(dog.enter(Phase::kLoad), Phase::kLoad);
    }
    EXPECT_EQ(dog.enter(Phase::kSetup), Phase::kSetup);
    EXPECT_EQ(dog.step(), -1);
    dog.at_step(7);
    EXPECT_EQ(dog.step(), 7);
  });
}

TEST(Watchdog, WhoWaitsForARankThatHangsLeavesItsStacks) {
  signals::install();
  const test::TempDir dir;
  comm::run_loopback(2, [&](comm::World& world) {
    world.configure({.peer_timeout = Seconds{0.3}}, nullptr, nullptr);
    const auto all = world.group({0, 1}, 1, "everyone");
    if (world.rank() == 1) return;  // without a word
    Watchdog dog(world);
    dog.start(Seconds{600}, dir.path(), 3);
    dog.start(Seconds{600}, dir.path(), 4);  // another attempt of the same process
    dog.at_step(11);
    const InPhase phase(dog, Phase::kSave);
    EXPECT_THROW(all->barrier("the other rank to save"), CommError);
    dog.stop();
  });
  const std::string text = content(dir.path() / "stacks" / "4.0.txt");
  EXPECT_TRUE(text.starts_with("rank 0 on n0, step 12: another rank hangs")) << text;
  EXPECT_NE(text.find("  section: barrier the other rank to save of everyone (in save)\n"), std::string::npos) << text;
  EXPECT_NE(text.find("Operation::wait()"), std::string::npos) << text;
}

TEST(Watchdog, WithoutALimitNobodyWatches) {
  const test::TempDir dir;
  comm::run_loopback(2, [&](comm::World& world) {
    world.configure({.peer_timeout = Seconds{0.1}}, nullptr, nullptr);
    const auto all = world.group({0, 1}, 1, "everyone");
    if (world.rank() == 1) return;
    Watchdog dog(world);
    dog.start(Seconds{0}, dir.path(), 1);
    EXPECT_THROW(all->barrier("the other rank"), CommError);
  });
  EXPECT_FALSE(std::filesystem::exists(dir.path() / "stacks"));
}

}  // namespace
}  // namespace banyan::job
