#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>

#include "io/atomic_file.hpp"
#include "src/base/error.hpp"
#include "src/job/checkpoint.hpp"
#include "tests/job/checkpoint_jobs.hpp"
#include "tests/job/logical_model.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::job {
namespace {

namespace fs = std::filesystem;
using test::all_of;
using test::committed;
using test::digest_of;
using test::Holding;
using test::job;
using test::kQuick;
using test::TempDir;

/// A test on so many ranks with a run that has been started; `before`: what the threads that write do first.
using Ranks = comm::Communicator;
using BeforeWriting = std::function<void(int rank, const std::atomic<bool>& cancel)>;
void in_background(const fs::path& run, int ranks, const BeforeWriting& before,
                   const std::function<void(Ranks&, Checkpoints&)>& body, Seconds limit = Seconds(600)) {
  comm::run_loopback(ranks, [&](comm::World& world) {
    auto all = all_of(world);
    CheckpointOptions options{.run_dir = run.string(), .keep = 2, .background_limit = limit, .lease = kQuick};
    if (before)
      options.before_writing = [&, rank = world.rank()](const std::atomic<bool>& cancel) { before(rank, cancel); };
    Checkpoints ckpt(*all, options);
    ckpt.load([](Source&) {});
    body(*all, ckpt);
  });
}

TEST(CheckpointsInBackground, TheValuesAreThoseOfTheMomentItBegan) {
  TempDir waited, background;
  job(waited.path(), 3, {5});
  std::atomic<bool> go = false;
  in_background(
      background.path(), 3,
      [&](int, const std::atomic<bool>&) {
        while (!go) std::this_thread::yield();
      },
      [&](Ranks& all, Checkpoints& ckpt) {
        const Clock::time_point start = Clock::now();
        Holding mine(all.rank(), 3, 5);
        EXPECT_EQ(ckpt.writing(), Writing::kDone);
        EXPECT_TRUE(ckpt.begin({.step = 5, .tokens = 50, .cursor = 10, .extra = {{"k", "v"}}}, mine.tensors).ok);
        EXPECT_TRUE(ckpt.in_flight());
        EXPECT_EQ(ckpt.writing(), Writing::kUnderWay);
        EXPECT_THROW(ckpt.save({.step = 6}, mine.tensors), BugError) << "at most one";
        for (auto& values : mine.memory) std::fill(values.begin(), values.end(), -1.0f);
        all.barrier("test");
        go = true;
        const SaveResult r = ckpt.finish();
        EXPECT_TRUE(r.ok) << r.error;
        EXPECT_GT(r.seconds, 0);
        EXPECT_LE(r.seconds, 2 * Seconds(Clock::now() - start).count()) << "in seconds";
        EXPECT_FALSE(ckpt.in_flight());
        // What is committed is not written again, either way.
        EXPECT_TRUE(ckpt.begin({.step = 5}, mine.tensors).ok);
        EXPECT_FALSE(ckpt.in_flight());
      });
  const std::string name = io::checkpoint_name(5, 1);
  EXPECT_EQ(digest_of(waited / "ckpt" / name), digest_of(background / "ckpt" / name));
  EXPECT_EQ(io::CheckpointReader(background / "ckpt" / name).verify_files(), "");
  EXPECT_EQ(job(background.path(), 2, {6}), 5);
}

TEST(CheckpointsInBackground, OneAfterTheOtherKeepsTheNewest) {
  TempDir run;
  in_background(run.path(), 2, {}, [&](Ranks& all, Checkpoints& ckpt) {
    for (int step = 1; step <= 5; ++step) {
      const Holding mine(all.rank(), 2, step);
      EXPECT_TRUE(ckpt.begin({.step = step}, mine.tensors).ok);
      EXPECT_TRUE(ckpt.finish().ok);
    }
    const Holding last(all.rank(), 2, 6);
    EXPECT_TRUE(ckpt.save({.step = 6}, last.tensors).ok) << "mixed with waiting";
  });
  EXPECT_EQ(committed(run.path()), (std::vector{io::checkpoint_name(6, 1), io::checkpoint_name(5, 1)}));
  EXPECT_EQ(job(run.path(), 3, {}), 6);
}

TEST(CheckpointsInBackground, MemoryTakenBeforehandIsUsedWheneverTheCopyComes) {
  TempDir run;
  in_background(run.path(), 2, {}, [&](Ranks& all, Checkpoints& ckpt) {
    for (int step = 1; step <= 3; ++step) {
      const Holding mine(all.rank(), 2, step);
      ckpt.prepare(std::span(mine.tensors).first(mine.tensors.size() / 2));  // more is wanted in the end
      EXPECT_TRUE(ckpt.begin({.step = step}, mine.tensors).ok);
      EXPECT_THROW(ckpt.prepare(mine.tensors), BugError);
      EXPECT_TRUE(ckpt.finish().ok);
    }
    const Holding last(all.rank(), 2, 3);
    ckpt.prepare(last.tensors);  // for nothing
  });
  EXPECT_EQ(job(run.path(), 3, {}), 3);
}

TEST(CheckpointsInBackground, AFailureIsTriedAgainFromTheSameCopy) {
  TempDir run;
  std::atomic<int> writes = 0;
  in_background(
      run.path(), 2,
      [&](int rank, const std::atomic<bool>&) {
        if (rank == 1 && writes++ == 0) throw IoError("the disk is full");
      },
      [&](Ranks& all, Checkpoints& ckpt) {
        Holding mine(all.rank(), 2, 3);
        EXPECT_TRUE(ckpt.begin({.step = 3}, mine.tensors).ok);
        for (auto& values : mine.memory) std::fill(values.begin(), values.end(), -1.0f);
        SaveResult r = ckpt.finish();
        EXPECT_TRUE(r.again);
        EXPECT_FALSE(r.ok);
        EXPECT_EQ(r.misses, 0);
        EXPECT_TRUE(ckpt.in_flight());
        r = ckpt.finish();
        EXPECT_TRUE(r.ok) << r.error;
        EXPECT_FALSE(r.again);
      });
  EXPECT_EQ(writes, 2);
  EXPECT_EQ(job(run.path(), 2, {}), 3);
}

TEST(CheckpointsInBackground, TwoFailuresAreAMissAndTheCommitBeforeStays) {
  TempDir run;
  job(run.path(), 2, {1});
  std::atomic<bool> broken = true;
  in_background(
      run.path(), 2,
      [&](int rank, const std::atomic<bool>& cancel) {
        if (!broken) return;
        if (rank == 0) throw IoError("the disk is full");
        while (!cancel) std::this_thread::yield();  // the other's failure ends what is still under way
        throw IoError("gave up");
      },
      [&](Ranks& all, Checkpoints& ckpt) {
        const Holding mine(all.rank(), 2, 3);
        EXPECT_TRUE(ckpt.begin({.step = 3}, mine.tensors).ok);
        EXPECT_TRUE(ckpt.finish().again);
        const SaveResult r = ckpt.finish();
        EXPECT_FALSE(r.ok || r.again);
        EXPECT_EQ(r.misses, 1);
        EXPECT_NE(r.error.find("the disk is full"), std::string::npos) << r.error;
        EXPECT_FALSE(ckpt.in_flight());
        all.barrier("test");
        EXPECT_EQ(io::RunStore(run.path()).list().size(), 1u);
        broken = false;
        all.barrier("test");
        const Holding next(all.rank(), 2, 4);
        EXPECT_TRUE(ckpt.begin({.step = 4}, next.tensors).ok);
        EXPECT_EQ(ckpt.finish().misses, 0);
      });
  EXPECT_EQ(committed(run.path()), (std::vector{io::checkpoint_name(4, 2), io::checkpoint_name(1, 1)}));
}

TEST(CheckpointsInBackground, AWriterThatHangsNamesItselfAndEndsTheJob) {
  TempDir run;
  in_background(
      run.path(), 2,
      [&](int rank, const std::atomic<bool>& cancel) {
        while (rank == 1 && !cancel) std::this_thread::yield();
      },
      [&](Ranks& all, Checkpoints& ckpt) {
        const Holding mine(all.rank(), 2, 3);
        EXPECT_TRUE(ckpt.begin({.step = 3}, mine.tensors).ok);
        // However long a busy machine takes for the one that does not hang.
        while (all.rank() == 0 && ckpt.writing() != Writing::kDone) std::this_thread::yield();
        try {
          ckpt.finish();
          ADD_FAILURE() << "it went on";
        } catch (const IoError& e) {
          EXPECT_NE(std::string(e.what()).find("rank 1"), std::string::npos) << e.what();
          EXPECT_NE(std::string(e.what()).find("hangs"), std::string::npos) << e.what();
        }
        EXPECT_EQ(ckpt.writing(), all.rank() == 1 ? Writing::kFailed : Writing::kDone);
      },
      Seconds(1));
}

TEST(CheckpointsInBackground, LeavingWithOneOnItsWayLeavesNoCommit) {
  TempDir run;
  job(run.path(), 2, {1});
  in_background(
      run.path(), 2,
      [](int, const std::atomic<bool>& cancel) {
        while (!cancel) std::this_thread::yield();
        throw IoError("gave up");
      },
      [&](Ranks& all, Checkpoints& ckpt) {
        const Holding mine(all.rank(), 2, 3);
        EXPECT_TRUE(ckpt.begin({.step = 3}, mine.tensors).ok);
      });
  EXPECT_EQ(job(run.path(), 2, {}), 1);
  EXPECT_EQ(io::RunStore(run.path()).list().size(), 1u) << "what was left is swept";
}

TEST(CheckpointsInBackground, AJobThatWasTakenOverMustNotCommit) {
  TempDir run;
  in_background(run.path(), 2, {}, [&](Ranks& all, Checkpoints& ckpt) {
    const Holding mine(all.rank(), 2, 1);
    EXPECT_TRUE(ckpt.begin({.step = 1}, mine.tensors).ok);
    if (all.rank() == 0) io::make_directories(run / "lease" / "e2");
    all.barrier("test");
    EXPECT_THROW(ckpt.finish(), RunHeldError);
  });
  EXPECT_TRUE(committed(run.path()).empty());
}

}  // namespace
}  // namespace banyan::job
