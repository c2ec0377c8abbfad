// Node-local checkpoints that are copied into the run directory.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <thread>

#include "io/atomic_file.hpp"
#include "src/base/error.hpp"
#include "tests/job/node_jobs.hpp"

namespace banyan::job {
namespace {

namespace fs = std::filesystem;
using test::committed;
using test::digest_of;
using test::Holding;

class DrainTest : public test::NodeJobsTest {
 protected:
  /// Whether it is there, finished or not.
  bool in_run_dir(std::int64_t step, std::int64_t epoch) const {
    const io::RunStore store(run.path());
    const std::string name = io::checkpoint_name(step, epoch);
    return io::path_exists(store.path_of(name)) || io::path_exists(store.tmp_of(name));
  }
  bool on_node(int node, std::int64_t step) const {
    return io::path_exists(ckpt(node) / io::checkpoint_name(step, 1) / io::kManifestName);
  }
  /// Begins, and goes on until it is there.
  static void drains(Checkpoints& c) {
    SaveResult r = c.drain();
    EXPECT_TRUE(r.ok) << r.error;
    while (c.in_drain()) r = c.finish_drain();
    EXPECT_TRUE(r.ok) << r.error;
    EXPECT_EQ(r.misses, 0);
  }
  std::barrier<> meet{4};  ///< of all ranks, which are threads
};

TEST_F(DrainTest, TheRunDirectoryHasWhatItWouldHaveBeenGiven) {
  job({0, 1}, [](comm::World& world, Checkpoints& c, std::int64_t from) {
    saves({-10}, true)(world, c, from);
    saves({20}, true)(world, c, from);
    drains(c);
    const SaveResult again = c.drain();  // it is there
    EXPECT_TRUE(again.ok);
    EXPECT_FALSE(c.in_drain());
  });
  EXPECT_EQ(committed(run.path()), (std::vector{io::checkpoint_name(20, 1), io::checkpoint_name(10, 1)}));
  const io::RunStore store(run.path());
  EXPECT_EQ(store.latest(), io::checkpoint_name(20, 1));
  io::CheckpointReader reader(store.path_of(io::checkpoint_name(20, 1)));
  EXPECT_EQ(reader.verify_files(), "");
  EXPECT_FALSE(reader.manifest().extra.contains(io::kLevel));
  EXPECT_TRUE(io::path_exists(reader.directory() / "view.h5"));
  // The same values, saved straight into a run directory.
  const test::TempDir other;
  test::job(other.path(), 4, {20});
  EXPECT_EQ(reader.digest().hex(), digest_of(io::RunStore(other.path()).path_of(io::checkpoint_name(20, 1))));
  fs::remove_all(nodes.path());
  grow(2);
  EXPECT_EQ(job({0, 1}), 20);
}

TEST_F(DrainTest, OthersAreMadeMeanwhileAndItsFilesStay) {
  std::atomic<bool> open = false, slow = false;
  before = [&](int, const std::atomic<bool>& cancel) {
    if (!slow) return;
    while (!open && !cancel) std::this_thread::yield();
  };
  job({0, 1}, [&](comm::World& world, Checkpoints& c, std::int64_t from) {
    saves({10}, true)(world, c, from);
    meet.arrive_and_wait();
    slow = true;
    EXPECT_TRUE(c.drain().ok);
    while (c.draining() != Writing::kUnderWay) std::this_thread::yield();
    const Holding straight(world.rank(), world.size(), 15);
    EXPECT_THROW(c.save({.step = 15}, straight.tensors), BugError);
    saves({20, 30, 40})(world, c, from);  // keep = 2
    EXPECT_TRUE(in_run_dir(10, 1));
    EXPECT_TRUE(on_node(0, 10) && on_node(1, 10));
    EXPECT_EQ(c.draining(), Writing::kUnderWay);
    meet.arrive_and_wait();
    open = true;
    EXPECT_TRUE(c.finish_drain().ok);
    EXPECT_EQ(c.draining(), Writing::kDone);
    drains(c);  // the newest now
    saves({50, 60})(world, c, from);
  });
  EXPECT_EQ(committed(run.path()), (std::vector{io::checkpoint_name(40, 1), io::checkpoint_name(10, 1)}));
  EXPECT_FALSE(on_node(0, 10) || on_node(1, 10));
  EXPECT_EQ(job({0, 1}), 60);
}

TEST_F(DrainTest, ADamagedFileIsTriedTwiceThenAMissAndTheOthersStay) {
  job({0, 1}, [&](comm::World& world, Checkpoints& c, std::int64_t from) {
    saves({-5, 10})(world, c, from);
    meet.arrive_and_wait();
    if (world.rank() == 0) flip(file(1, 10, 1, 3));  // its own; node 0 has the copy
    EXPECT_TRUE(c.drain().ok);
    SaveResult r = c.finish_drain();
    EXPECT_TRUE(r.again);
    r = c.finish_drain();
    EXPECT_FALSE(r.ok || r.again);
    EXPECT_EQ(r.misses, 1);
    EXPECT_NE(r.error.find("shard-00003.h5 does not hold what was written"), std::string::npos) << r.error;
    EXPECT_FALSE(in_run_dir(10, 1));
    // What is saved straight into the run directory ends the row of misses.
    saves({-11})(world, c, from);
    saves({12})(world, c, from);
    drains(c);
  });
  EXPECT_EQ(committed(run.path()),
            (std::vector{io::checkpoint_name(12, 1), io::checkpoint_name(11, 1), io::checkpoint_name(5, 1)}));
}

TEST_F(DrainTest, AMissingFileAndAnObstacleAreMissesToo) {
  job({0, 1}, [&](comm::World& world, Checkpoints& c, std::int64_t from) {
    saves({10})(world, c, from);
    meet.arrive_and_wait();
    if (world.rank() == 0) fs::remove(file(0, 10, 1, 1));
    EXPECT_TRUE(c.drain().ok);
    while (c.finish_drain().again) continue;
    saves({20})(world, c, from);
    if (world.rank() == 0) fs::create_directories(run / "ckpt" / io::checkpoint_name(20, 1) / "in-the-way");
    meet.arrive_and_wait();
    EXPECT_TRUE(c.drain().ok);
    SaveResult r;
    while ((r = c.finish_drain()).again) continue;
    EXPECT_EQ(r.misses, 2);
    EXPECT_NE(r.error.find("is there already"), std::string::npos) << r.error;
  });
  EXPECT_FALSE(in_run_dir(10, 1));
  EXPECT_EQ(job({0, 1}), 20);
}

TEST_F(DrainTest, AJobThatWasTakenOverMustNotCommit) {
  job({0, 1}, [&](comm::World& world, Checkpoints& c, std::int64_t from) {
    saves({10})(world, c, from);
    EXPECT_TRUE(c.drain().ok);
    if (world.rank() == 0) io::make_directories(run / "lease" / "e2");
    meet.arrive_and_wait();
    EXPECT_THROW(c.finish_drain(), RunHeldError);
  });
  EXPECT_TRUE(committed(run.path()).empty());
}

TEST_F(DrainTest, WhatIsToComeByWayOfTheNodesSeesTheTakeoverAtOnce) {
  job({0, 1}, [&](comm::World& world, Checkpoints& c, std::int64_t) {
    if (world.rank() == 0) io::make_directories(run / "lease" / "e2");
    meet.arrive_and_wait();
    const Holding mine(world.rank(), world.size(), 10);
    EXPECT_THROW(c.begin({.step = 10}, mine.tensors, Level::kNodes), RunHeldError);
    EXPECT_FALSE(c.in_flight());
  });
}

TEST_F(DrainTest, LeavingWithOneOnItsWayLeavesNoCommitAndTheNodesHaveIt) {
  std::atomic<bool> slow = false;
  before = [&](int, const std::atomic<bool>& cancel) {
    while (slow && !cancel) std::this_thread::yield();
    if (slow) throw IoError("gave up");
  };
  job({0, 1}, [&](comm::World& world, Checkpoints& c, std::int64_t from) {
    saves({-5, 10})(world, c, from);
    meet.arrive_and_wait();
    slow = true;
    EXPECT_TRUE(c.drain().ok);
  });
  EXPECT_TRUE(in_run_dir(10, 1));
  EXPECT_EQ(committed(run.path()), std::vector{io::checkpoint_name(5, 1)});
  slow = false;
  EXPECT_EQ(job({0, 1}), 10);
  EXPECT_FALSE(in_run_dir(10, 1)) << "what was left is swept";
}

TEST_F(DrainTest, ACallInTheWrongPlaceIsABug) {
  job({0, 1}, [&](comm::World&, Checkpoints& c, std::int64_t) {
    EXPECT_THROW(c.drain(), BugError);  // none was made by this attempt
    EXPECT_THROW(c.finish_drain(), BugError);
  });
}

}  // namespace
}  // namespace banyan::job
