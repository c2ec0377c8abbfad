#include "src/job/together.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "src/base/error.hpp"

namespace banyan::job {
namespace {

std::unique_ptr<comm::Communicator> all_of(comm::World& world) {
  std::vector<int> ranks;
  for (int i = 0; i < world.size(); ++i) ranks.push_back(i);
  return world.group(ranks, 1, "all");
}

TEST(Together, AllSucceedAlsoWithoutWork) {
  comm::run_loopback(3, [](comm::World& world) {
    auto ranks = all_of(world);
    int ran = 0;
    EXPECT_TRUE(run_together(*ranks, "test", Seconds(60), [&](const std::atomic<bool>&) { ++ran; }).ok());
    EXPECT_EQ(ran, 1);
    EXPECT_TRUE(run_together(*ranks, "test", Seconds(60), {}).ok());
  });
}

TEST(Together, OneFailureIsEveryonesVerdictAndCancelsTheOthers) {
  comm::run_loopback(3, [](comm::World& world) {
    auto ranks = all_of(world);
    const Verdict v = run_together(*ranks, "test", Seconds(60), [&](const std::atomic<bool>& cancel) {
      if (world.rank() == 1) throw DataError("the bytes are wrong");
      while (!cancel) std::this_thread::yield();
      throw IoError("gave up");
    });
    ASSERT_FALSE(v.ok());
    EXPECT_EQ(v.outcomes[0].code, Outcome::kGaveUp);
    EXPECT_EQ(v.first().code, static_cast<int>(ExitCode::kBadData));
    EXPECT_NE(v.first().message.find("rank 1"), std::string::npos);
    EXPECT_THROW(v.raise(), DataError);
  });
}

TEST(Together, ForeignExceptionsAreBugs) {
  comm::run_loopback(2, [](comm::World& world) {
    auto ranks = all_of(world);
    const Verdict v = run_together(*ranks, "test", Seconds(60), [&](const std::atomic<bool>&) {
      if (world.rank() == 0) throw std::runtime_error("surprise");
    });
    EXPECT_THROW(v.raise(), BugError);
  });
}

TEST(Together, WorkThatHangsIsAnIoErrorOnAllRanks) {
  comm::run_loopback(2, [](comm::World& world) {
    auto ranks = all_of(world);
    EXPECT_THROW(run_together(*ranks, "test", Seconds(0.1),
                              [&](const std::atomic<bool>& cancel) {
                                while (world.rank() == 1 && !cancel) std::this_thread::yield();
                              }),
                 IoError);
  });
}

TEST(Together, GatherStrings) {
  comm::run_loopback(4, [](comm::World& world) {
    auto ranks = all_of(world);
    const std::string mine(static_cast<std::size_t>(world.rank()) * 1000, static_cast<char>('a' + world.rank()));
    const auto all = gather_strings(*ranks, mine, "test");
    if (world.rank() != 0) {
      EXPECT_TRUE(all.empty());
      return;
    }
    ASSERT_EQ(all.size(), 4u);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(all[i], std::string(i * 1000, static_cast<char>('a' + i)));
  });
}

}  // namespace
}  // namespace banyan::job
