// Jobs whose ranks sit on several nodes, each with a directory of its own: what is saved there, what a start makes of
// it.
#include "src/job/local_level.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <map>

#include "io/atomic_file.hpp"
#include "src/base/error.hpp"
#include "tests/job/node_jobs.hpp"

namespace banyan::job {
namespace {

namespace fs = std::filesystem;
using test::committed;
using test::Holding;
using LocalLevelTest = test::NodeJobsTest;

TEST_F(LocalLevelTest, TheNewestIsTakenWhereverItIs) {
  EXPECT_EQ(job({0, 1}, saves({10, -20, 30})), -1);
  EXPECT_EQ(committed(run.path()), std::vector{io::checkpoint_name(20, 1)});
  EXPECT_EQ(job({0, 1}, saves({40, -50}, true)), 30);
  EXPECT_EQ(job({0, 1}), 50);
  // What it came from is known to the run directory, so the history goes on without the nodes, too.
  EXPECT_EQ(io::lease_base(run.path(), 2)->name, io::local_name(io::checkpoint_name(30, 1)));
  fs::remove_all(nodes.path());
  grow(2);
  EXPECT_EQ(job({0, 1}), 50);
}

TEST_F(LocalLevelTest, EveryNodeHasItsPartAndAnotherNodes) {
  job({0, 1, 2}, saves({10}));
  const std::map<int, std::vector<int>> there{{0, {0, 1, 4, 5}}, {1, {0, 1, 2, 3}}, {2, {2, 3, 4, 5}}};
  for (const auto& [node, ranks] : there)
    for (int r = 0; r < 6; ++r)
      EXPECT_EQ(io::path_exists(file(node, 10, 1, r)), std::find(ranks.begin(), ranks.end(), r) != ranks.end())
          << node << " " << r;
}

TEST_F(LocalLevelTest, OtherNodesRanksAndOrders) {
  others_cut = true;
  job({0, 1, 2}, saves({10}));
  EXPECT_EQ(job({2, 0, 1}), 10);     // permuted
  EXPECT_EQ(job({1, 3, 2}), 10);     // a new node in the place of one that is lost
  EXPECT_EQ(job({0, 1}), 10);        // fewer
  EXPECT_EQ(job({3, 0, 1, 2}), 10);  // more
  EXPECT_EQ(job({2, 1}), 10);
}

TEST_F(LocalLevelTest, ALostNodeCostsNothing) {
  job({0, 1, 2, 3}, saves({-5, 10, 20}, true));
  fs::remove_all(place(2));
  grow(4);
  EXPECT_EQ(job({0, 1, 2, 3}), 20);
  EXPECT_EQ(job({0, 1, 2, 3}), 20);  // it has its part again
  EXPECT_TRUE(io::path_exists(file(2, 20, 1, 4)));
}

TEST_F(LocalLevelTest, TwoLostNodesThatKeptEachOthersCopiesCostTheLevel) {
  job({0, 1, 2, 3}, saves({-5, 10, 20}));
  for (const int n : {0, 2}) fs::remove_all(place(n));  // half way around: partners of each other
  grow(4);
  EXPECT_EQ(job({0, 1, 2, 3}), 5);
}

TEST_F(LocalLevelTest, DamagedFilesComeFromThePartner) {
  job({0, 1}, saves({-5, 10}));
  flip(file(0, 10, 1, 0));  // its own
  EXPECT_EQ(job({0, 1}), 10);
  flip(file(1, 10, 1, 0));  // the copy, while its own has been mended
  EXPECT_EQ(job({0, 1}), 10);
  fs::resize_file(file(1, 10, 1, 3), 100);  // its own, cut
  fs::remove(file(0, 10, 1, 1));
  EXPECT_EQ(job({0, 1}), 10);
}

TEST_F(LocalLevelTest, BothDamagedFallBackToAnOlderOneThenToTheRunDirectory) {
  job({0, 1}, saves({-5, 10, 20}));
  for (const int n : {0, 1}) flip(file(n, 20, 1, 2));
  EXPECT_EQ(job({0, 1}), 10);
  for (const int n : {0, 1}) flip(file(n, 10, 1, 0));
  EXPECT_EQ(job({0, 1}), 5);
}

TEST_F(LocalLevelTest, ADamagedOneIsSaidToBeThatAlsoWhereTheManifestIsOnAnotherNode) {
  job({0, 1}, saves({-5, 10, 20}));
  for (const int n : {0, 1}) flip(file(n, 20, 1, 2));
  fs::remove(ckpt(0) / io::checkpoint_name(20, 1) / io::kManifestName);
  testing::internal::CaptureStderr();
  EXPECT_EQ(job({0, 1}), 10);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("CHECKPOINT NOT USED"), std::string::npos) << said;
  EXPECT_EQ(said.find("was removed"), std::string::npos) << said;
}

TEST_F(LocalLevelTest, DamagedManifestsLinksAndStrangersAreNotUsed) {
  job({0, 1}, saves({-5, 10}));
  const fs::path here = ckpt(0) / io::checkpoint_name(10, 1);
  std::ofstream(here / io::kManifestName) << "{}";
  EXPECT_EQ(job({0, 1}), 10);  // the other node's manifest
  EXPECT_EQ(io::read_limited(here / io::kManifestName, 1 << 20),
            io::read_limited(ckpt(1) / io::checkpoint_name(10, 1) / io::kManifestName, 1 << 20));
  fs::remove(file(0, 10, 1, 0));
  fs::create_symlink("/etc/passwd", file(0, 10, 1, 0));
  EXPECT_EQ(job({0, 1}), 10);
  EXPECT_FALSE(fs::is_symlink(file(0, 10, 1, 0)));
}

TEST_F(LocalLevelTest, OfASecondTryOnlyWhatItContinuedFromCounts) {
  job({0, 1}, saves({-5, 10, 20}));
  EXPECT_EQ(job({0, 1}, saves({25, 30}), (run / "ckpt" / io::checkpoint_name(5, 1)).string()), 5);
  EXPECT_EQ(job({0, 1}), 30);
  for (const int n : {0, 1}) fs::remove_all(ckpt(n) / io::checkpoint_name(30, 2));
  for (const int n : {0, 1}) fs::remove_all(ckpt(n) / io::checkpoint_name(25, 2));
  EXPECT_EQ(job({0, 1}), 5);  // 20 of the first attempt was left behind
}

TEST_F(LocalLevelTest, AFreshStartDoesNotThrowThemAway) {
  job({0, 1}, saves({10}));
  EXPECT_THROW(job({0, 1}, {}, "never"), ConfigError);
  EXPECT_EQ(job({0, 1}), 10);
}

TEST_F(LocalLevelTest, KeepsTheNewestTwoAndNothingAfterLeavingInOrder) {
  job({0, 1}, saves({10, 20, 30, 40}));
  for (const int n : {0, 1}) {
    EXPECT_FALSE(io::path_exists(ckpt(n) / io::checkpoint_name(20, 1)));
    EXPECT_TRUE(io::path_exists(ckpt(n) / io::checkpoint_name(30, 1)));
    EXPECT_TRUE(io::path_exists(ckpt(n) / io::checkpoint_name(40, 1)));
  }
  job({0, 1}, [](comm::World& world, Checkpoints& c, std::int64_t from) {
    saves({-50})(world, c, from);
    c.leave_in_order();
  });
  for (const int n : {0, 1}) EXPECT_TRUE(fs::is_empty(place(n)));
  EXPECT_EQ(job({0, 1}), 50);
}

TEST_F(LocalLevelTest, AMissingOrSharedDirectoryIsAWarningAndNoMore) {
  job({0, 1}, saves({-5}));
  fs::remove_all(place(1));
  EXPECT_EQ(job({0, 1}, saves({-8})), 5);
  EXPECT_EQ(usable_of(4), (std::map<int, bool>{{0, false}, {1, false}, {2, false}, {3, false}}));
  EXPECT_EQ(job({0, 0}, saves({-9})), 8);
  EXPECT_FALSE(usable[0] || usable[3]);
  fs::create_directory(place(1));
  EXPECT_EQ(job({0, 1}, saves({10})), 9);
  EXPECT_TRUE(usable[0] && usable[3]);
}

TEST_F(LocalLevelTest, OneNodeHasNoCopies) {
  EXPECT_EQ(job({0}, saves({10, 20}, true)), -1);
  EXPECT_EQ(job({0}), 20);
  EXPECT_EQ(job({1, 0}), 20);
}

TEST_F(LocalLevelTest, ANodeThatCannotWriteFailsTheSaveOnAll) {
  job({0, 1}, [&](comm::World& world, Checkpoints& c, std::int64_t from) {
    saves({10})(world, c, from);
    for (const bool background : {false, true}) {
      // In the place of what node 1 would write: its rank's file in one try, the copy that it keeps in the other.
      const Holding mine(world.rank(), world.size(), 20);
      const std::string name = io::checkpoint_name(background ? 21 : 20, c.epoch());
      const SaveState state{.step = background ? 21 : 20};
      if (world.rank() == 0) fs::create_directories(ckpt(1) / name / "in-the-way");  // commits onto no existing name
      const SaveResult r = background ? (c.begin(state, mine.tensors, Level::kNodes), c.finish())
                                      : c.save(state, mine.tensors, Level::kNodes);
      EXPECT_FALSE(r.ok);
      EXPECT_EQ(r.misses, background ? 2 : 1);
      EXPECT_NE(r.error.find("is there already"), std::string::npos) << r.error;
      for (const int n : {0, 1}) {
        EXPECT_FALSE(io::path_exists(ckpt(n) / (name + ".tmp")));
        EXPECT_FALSE(io::path_exists(ckpt(n) / name));
      }
    }
    saves({30, -40, 50})(world, c, from);
  });
  EXPECT_EQ(job({0, 1}), 50);
}

TEST_F(LocalLevelTest, WhatWasNotCommittedIsNotUsed) {
  job({0, 1}, saves({10}));
  // Data without a manifest, as a kill before the commit leaves it, on one node or both.
  for (const int n : {0, 1}) {
    fs::copy(ckpt(n) / io::checkpoint_name(10, 1), ckpt(n) / (io::checkpoint_name(20, 1) + ".tmp"));
    fs::remove(ckpt(n) / (io::checkpoint_name(20, 1) + ".tmp") / io::kManifestName);
  }
  EXPECT_EQ(job({0, 1}), 10);
  for (const int n : {0, 1}) EXPECT_FALSE(io::path_exists(ckpt(n) / (io::checkpoint_name(20, 1) + ".tmp")));
}

TEST_F(LocalLevelTest, CommittedOnOneNodeIsEnoughWhereAllFilesAre) {
  job({0, 1}, saves({-5, 10, 20}));
  // A kill between the commits of two nodes.
  fs::rename(ckpt(1) / io::checkpoint_name(20, 1), ckpt(1) / (io::checkpoint_name(20, 1) + ".tmp"));
  EXPECT_EQ(job({0, 1}), 20);
}

}  // namespace
}  // namespace banyan::job
