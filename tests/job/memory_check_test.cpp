#include "src/job/memory_check.hpp"

#include <gtest/gtest.h>

#include <mutex>
#include <vector>

#include "src/base/error.hpp"
#include "src/base/process_memory.hpp"

namespace banyan::job {
namespace {

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

TEST(MemoryCheck, AddsUpTheRanksOfEachNode) {
  const std::vector<RankNeed> fits{{0, "n0", 3 * kGiB, 8 * kGiB}, {0, "n0", 4 * kGiB, 8 * kGiB}, {1, "n1", 0, kGiB}};
  EXPECT_EQ(memory_shortage(fits), "");
  std::vector<RankNeed> tight = fits;
  tight[1].planned = 6 * kGiB;
  const std::string sentence = memory_shortage(tight);
  EXPECT_NE(sentence.find("n0 has 8 GiB of memory, but its 2 ranks would need 9 GiB (6 GiB for the largest)"),
            std::string::npos)
      << sentence;
}

TEST(MemoryCheck, BelievesInWhatItCannotKnow) {
  const std::vector<RankNeed> unknown{{0, "n0", 1000 * kGiB, 0}};
  EXPECT_EQ(memory_shortage(unknown), "");
  EXPECT_EQ(memory_shortage({}), "");
}

TEST(MemoryCheck, SharesANodeEvenly) {
  comm::run_loopback(3, [&](comm::World& world) {
    const auto everyone = world.group({0, 1, 2}, 1, "world");
    EXPECT_EQ(memory_of_a_rank(world, *everyone), machine_memory() / 3);
  });
}

TEST(MemoryCheck, TellsAllRanksTheSame) {
  int refused = 0;
  comm::run_loopback(3, [&](comm::World& world) {
    const auto everyone = world.group({0, 1, 2}, 1, "world");
    EXPECT_NO_THROW(check_memory(world, *everyone, 1));
    const std::int64_t too_much = world.rank() == 1 ? machine_memory() + 1 : 0;
    try {
      check_memory(world, *everyone, too_much);
    } catch (const ConfigError&) {
      static std::mutex mutex;
      const std::lock_guard lock(mutex);
      ++refused;
    }
  });
  EXPECT_EQ(refused, 3);
}

}  // namespace
}  // namespace banyan::job
