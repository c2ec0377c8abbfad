#include "src/job/checkpoint.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "io/atomic_file.hpp"
#include "io/view_file.hpp"
#include "src/base/error.hpp"
#include "tests/job/checkpoint_jobs.hpp"
#include "tests/job/logical_model.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::job {
namespace {

namespace fs = std::filesystem;
using test::age_of;
using test::all_of;
using test::committed;
using test::digest_of;
using test::Holding;
using test::job;
using test::kQuick;
using test::TempDir;

/// Flips one bit of the first value of a checkpoint.
void damage(const fs::path& checkpoint) {
  const io::CheckpointReader reader(checkpoint);
  const io::Shard& s = reader.manifest().tensors[0].shards[0];
  std::fstream f(checkpoint / reader.manifest().files[static_cast<std::size_t>(s.file)].name,
                 std::ios::in | std::ios::out | std::ios::binary);
  f.seekg(s.byte_offset);
  const char byte = static_cast<char>(f.get() ^ 1);
  f.seekp(s.byte_offset);
  f.put(byte);
}

TEST(Checkpoints, AnyNumberOfRanksLoadsAnyOther) {
  std::set<std::string> digests;
  for (int writers : {1, 2, 3, 4}) {
    TempDir run;
    EXPECT_EQ(job(run.path(), writers, {5}), -1);
    for (int readers : {1, 2, 3, 4}) EXPECT_EQ(job(run.path(), readers, {}), 5);
    EXPECT_EQ(io::CheckpointReader(run / "ckpt" / io::checkpoint_name(5, 1)).verify_files(), "");
    digests.insert(digest_of(run / "ckpt" / io::checkpoint_name(5, 1)));
    EXPECT_TRUE(io::path_exists(run / "ckpt" / io::checkpoint_name(5, 1) / io::kViewName));
  }
  EXPECT_EQ(digests.size(), 1u);
}

TEST(Checkpoints, ManifestHoldsTheState) {
  TempDir run;
  job(run.path(), 2, {7});
  job(run.path(), 2, {9});
  const io::CheckpointReader reader(run / "ckpt" / io::checkpoint_name(9, 2));
  const io::Manifest& m = reader.manifest();
  EXPECT_EQ(m.tokens, 90);
  EXPECT_EQ(m.cursor, 18);
  EXPECT_EQ(m.base.name, io::checkpoint_name(7, 1));
  EXPECT_EQ(m.extra.at("k"), "v");
  EXPECT_EQ(m.run_uuid, io::CheckpointReader(run / "ckpt" / m.base.name).manifest().run_uuid);
}

TEST(Checkpoints, KeepsTheNewest) {
  TempDir run;
  job(run.path(), 2, {1, 2, 3, 4});
  job(run.path(), 2, {5});
  EXPECT_EQ(committed(run.path()),
            (std::vector{io::checkpoint_name(5, 2), io::checkpoint_name(4, 1), io::checkpoint_name(3, 1)}));
  EXPECT_EQ(io::RunStore(run.path()).latest(), io::checkpoint_name(5, 2));
}

TEST(Checkpoints, TwoThatLookWholeStay) {
  TempDir run;
  const auto n = [](std::int64_t step) { return io::checkpoint_name(step, 1); };
  comm::run_loopback(2, [&](comm::World& world) {
    auto all = all_of(world);
    Checkpoints ckpt(*all, {.run_dir = run.path().string(), .keep = 2, .lease = kQuick});
    ckpt.load([](Source&) {});
    const Holding mine(world.rank(), 2, 1);
    for (std::int64_t step = 1; step <= 4; ++step) {
      EXPECT_TRUE(ckpt.save({.step = step}, mine.tensors).ok);
      if (world.rank() != 0) continue;
      if (step == 2) fs::resize_file(run / "ckpt" / n(2) / "shard-00001.h5", 100);
      if (step == 3) {
        EXPECT_EQ(committed(run.path()), (std::vector{n(3), n(2), n(1)}));
      }
    }
  });
  EXPECT_EQ(committed(run.path()), (std::vector{n(4), n(3)}));
}

TEST(Checkpoints, TheSameStepIsNotWrittenTwice) {
  TempDir run;
  EXPECT_EQ(job(run.path(), 2, {3, 3}), -1);
  EXPECT_EQ(job(run.path(), 2, {3}), 3);  // another attempt may
  EXPECT_EQ(committed(run.path()), (std::vector{io::checkpoint_name(3, 2), io::checkpoint_name(3, 1)}));
}

TEST(Checkpoints, DamagedOnesAreMarkedAndOlderOnesUsed) {
  TempDir run;
  job(run.path(), 2, {1, 2, 3});
  damage(run / "ckpt" / io::checkpoint_name(3, 1));
  fs::remove(run / "ckpt" / io::checkpoint_name(2, 1) / io::kManifestName);
  EXPECT_EQ(job(run.path(), 3, {}), 1);
  EXPECT_TRUE(io::RunStore(run.path()).is_bad(io::checkpoint_name(3, 1)));
  EXPECT_TRUE(io::RunStore(run.path()).is_bad(io::checkpoint_name(2, 1)));
  EXPECT_EQ(job(run.path(), 1, {}), 1);
}

TEST(Checkpoints, NoneUsableIsNeverAFreshStart) {
  TempDir run;
  job(run.path(), 2, {1, 2});
  damage(run / "ckpt" / io::checkpoint_name(1, 1));
  damage(run / "ckpt" / io::checkpoint_name(2, 1));
  EXPECT_THROW(job(run.path(), 2, {}), ConfigError);
  EXPECT_THROW(job(run.path(), 2, {}), ConfigError);  // with the marks in place, too
  EXPECT_EQ(io::RunStore(run.path()).list().size(), 2u);
}

TEST(Checkpoints, ResumeNeverNeedsAnEmptyRunDirectory) {
  TempDir run;
  EXPECT_EQ(job(run.path(), 1, {1}, "never"), -1);
  EXPECT_THROW(job(run.path(), 1, {}, "never"), ConfigError);
}

TEST(Checkpoints, ResumeFromAPath) {
  TempDir first, second;
  job(first.path(), 2, {1, 2});
  const std::string path = (first / "ckpt" / io::checkpoint_name(1, 1)).string();
  EXPECT_EQ(job(second.path(), 1, {}, path), 1);
  EXPECT_EQ(job(second.path(), 1, {5}, path), 1);  // nothing committed yet: from there again
  EXPECT_EQ(job(second.path(), 1, {6}, path), 5);  // what came from there is continued
  EXPECT_EQ(job(second.path(), 1, {}, "auto"), 6);
  EXPECT_THROW(job(second.path(), 1, {}, (first / "ckpt" / io::checkpoint_name(2, 1)).string()), ConfigError);
  EXPECT_THROW(job(second.path(), 1, {}, (first / "nothing").string()), ConfigError);
  TempDir third;
  EXPECT_EQ(job(third.path(), 1, {}, first.path().string()), 2);  // a run directory means its newest
}

/// Loads from `resume` into `run` on 2 ranks while the run it comes from goes on, by the steps of `meanwhile`, and keeps
/// only two: in the middle of the first `times` attempts to read.  The step it resumed from.
std::int64_t load_while_training(const fs::path& run, const std::string& resume, const fs::path& other, int times,
                                 std::vector<std::int64_t> meanwhile) {
  std::int64_t resumed = -2;
  comm::run_loopback(2, [&](comm::World& world) {
    auto all = all_of(world);
    Checkpoints ckpt(*all, {.run_dir = run.string(), .resume = resume, .lease = kQuick});
    int wrong = -1, attempts = 0;
    const auto from = ckpt.load([&](Source& source) {
      if (world.rank() == 0 && attempts++ < times) {
        job(other, 1, meanwhile, "auto", 2);
        for (std::int64_t& step : meanwhile) step += 10;
      }
      test::checking_fill(world.rank(), 2, test::age_of, wrong)(source);
    });
    EXPECT_EQ(wrong, 0);
    if (world.rank() == 0) resumed = from ? from->step : -1;
  });
  return resumed;
}

TEST(Checkpoints, WhatIsRemovedUnderAResumeIsListedAgain) {
  TempDir other, run;
  job(other.path(), 2, {1, 2});
  EXPECT_EQ(load_while_training(run.path(), other.path().string(), other.path(), 1, {3, 4}), 4);
  EXPECT_EQ(job(run.path(), 1, {5}, other.path().string()), 4);
  EXPECT_EQ(committed(other.path()), (std::vector{io::checkpoint_name(4, 2), io::checkpoint_name(3, 2)}));
}

TEST(Checkpoints, AResumeGivesUpWhatIsAlwaysRemoved) {
  TempDir other, run;
  job(other.path(), 2, {1, 2});
  try {
    load_while_training(run.path(), other.path().string(), other.path(), 1000, {3, 4});
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("raise checkpoint.keep where it is trained"), std::string::npos) << e.what();
  }
  EXPECT_EQ(committed(other.path()).front(), io::checkpoint_name(44, 6));
  // One that is named is not replaced by another.
  const std::string one = (other / "ckpt" / committed(other.path()).front()).string();
  EXPECT_THROW(load_while_training(run.path(), one, other.path(), 1, {53, 54}), ConfigError);
}

TEST(Checkpoints, GoingBack) {
  TempDir run;
  job(run.path(), 1, {1, 2, 3});
  const std::string path = (run / "ckpt" / io::checkpoint_name(2, 1)).string();
  EXPECT_EQ(job(run.path(), 1, {3}, path), 2);
  EXPECT_EQ(job(run.path(), 1, {}, path), 3);  // the new step 3, of epoch 2
  EXPECT_EQ(committed(run.path()).front(), io::checkpoint_name(3, 2));
}

TEST(Checkpoints, AnErrorOfTheCallerIsEveryonesAndBlamesNoCheckpoint) {
  TempDir run;
  job(run.path(), 2, {1});
  comm::run_loopback(2, [&](comm::World& world) {
    auto all = all_of(world);
    Checkpoints ckpt(*all, {.run_dir = run.path().string(), .lease = kQuick});
    EXPECT_THROW(ckpt.load([&](Source&) {
      if (world.rank() == 1) throw ConfigError("model.width was changed");
    }),
                 ConfigError);
  });
  comm::run_loopback(2, [&](comm::World& world) {
    auto all = all_of(world);
    Checkpoints ckpt(*all, {.run_dir = run.path().string(), .lease = kQuick});
    EXPECT_THROW(ckpt.load([&](Source& s) {
      float x = 0;
      s.read_slab(io::TensorKind::kParam, "norm.weight", {world.rank() * 100}, View(&x, Shape{1}));
    }),
                 ConfigError);
  });
  EXPECT_FALSE(io::RunStore(run.path()).is_bad(io::checkpoint_name(1, 1)));
}

TEST(Checkpoints, AFailedSaveLeavesEverythingAndCounts) {
  TempDir run;
  comm::run_loopback(2, [&](comm::World& world) {
    auto all = all_of(world);
    Checkpoints ckpt(*all, {.run_dir = run.path().string(), .lease = kQuick});
    EXPECT_FALSE(ckpt.load([](Source&) {}).has_value());
    const Holding mine(world.rank(), 2, 1);
    EXPECT_TRUE(ckpt.save({.step = 1}, mine.tensors).ok);
    all->barrier("test");
    if (world.rank() == 0) {
      fs::rename(run / "ckpt", run / "aside");
      std::ofstream(run / "ckpt") << "in the way";
    }
    all->barrier("test");
    for (int miss : {1, 2}) {
      const SaveResult r = ckpt.save({.step = 2}, mine.tensors);
      EXPECT_FALSE(r.ok);
      EXPECT_EQ(r.misses, miss);
      EXPECT_NE(r.error.find("ckpt"), std::string::npos) << r.error;
    }
    all->barrier("test");
    if (world.rank() == 0) {
      fs::remove(run / "ckpt");
      fs::rename(run / "aside", run / "ckpt");
    }
    all->barrier("test");
    const SaveResult r = ckpt.save({.step = 2}, mine.tensors);
    EXPECT_TRUE(r.ok) << r.error;
    EXPECT_EQ(r.misses, 0);
  });
  EXPECT_EQ(committed(run.path()).size(), 2u);
}

TEST(Checkpoints, AJobThatWasTakenOverMustNotCommit) {
  TempDir run;
  comm::run_loopback(2, [&](comm::World& world) {
    auto all = all_of(world);
    Checkpoints ckpt(*all, {.run_dir = run.path().string(), .lease = kQuick});
    ckpt.load([](Source&) {});
    if (world.rank() == 0) io::make_directories(run / "lease" / "e2");
    all->barrier("test");
    const Holding mine(world.rank(), 2, 1);
    EXPECT_THROW(ckpt.save({.step = 1}, mine.tensors), RunHeldError);
  });
  EXPECT_TRUE(io::RunStore(run.path()).list().empty());
}

TEST(Checkpoints, SlabsThatDoNotCoverAreABugAndNotACheckpoint) {
  TempDir run;
  job(run.path(), 2, {1});
  comm::run_loopback(2, [&](comm::World& world) {
    auto all = all_of(world);
    Checkpoints ckpt(*all, {.run_dir = run.path().string(), .lease = kQuick});
    ckpt.load([](Source&) {});
    Holding mine(world.rank(), 2, 2);
    if (world.rank() == 1) mine.tensors.pop_back();
    EXPECT_THROW(ckpt.save({.step = 2}, mine.tensors), BugError);
    EXPECT_THROW(ckpt.save({.step = 3 + world.rank()}, mine.tensors), BugError);
  });
  EXPECT_EQ(io::RunStore(run.path()).list().size(), 1u);
}

TEST(Checkpoints, RanksWithNothingToWrite) {
  TempDir run;
  comm::run_loopback(3, [&](comm::World& world) {
    auto all = all_of(world);
    Checkpoints ckpt(*all, {.run_dir = run.path().string(), .lease = kQuick});
    ckpt.load([](Source&) {});
    const Holding whole(0, 1, 1);
    EXPECT_TRUE(ckpt.save({.step = 1}, world.rank() == 1 ? std::span<const SaveTensor>(whole.tensors)
                                                         : std::span<const SaveTensor>{})
                    .ok);
  });
  EXPECT_EQ(io::CheckpointReader(run / "ckpt" / io::checkpoint_name(1, 1)).manifest().files.size(), 1u);
  EXPECT_EQ(job(run.path(), 2, {}), 1);
}

TEST(Checkpoints, AnUnusableRunDirectoryIsAConfigError) {
  TempDir dir;
  io::write_atomic(dir / "file", "x");
  EXPECT_THROW(job(dir / "file" / "run", 2, {}), ConfigError);
}

TEST(Checkpoints, ALiveHolderEndsTheStartOnAllRanks) {
  TempDir run;
  const io::Lease other(run.path(), kQuick);
  comm::run_loopback(2, [&](comm::World& world) {
    auto all = all_of(world);
    EXPECT_THROW(Checkpoints(*all, {.run_dir = run.path().string(), .lease = kQuick}), RunHeldError);
  });
}

TEST(Checkpoints, ReadingNeedsNoLease) {
  TempDir run;
  job(run.path(), 2, {1, 2});
  damage(run / "ckpt" / io::checkpoint_name(2, 1));
  const io::Lease other(run.path(), kQuick);
  comm::run_loopback(2, [&](comm::World& world) {
    auto all = all_of(world);
    int wrong = -1;
    const auto fill = test::checking_fill(world.rank(), 2, age_of, wrong);
    EXPECT_EQ(load_readonly(*all, run.path().string(), Seconds(60), fill).step, 1);
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(load_readonly(*all, (run / "ckpt" / io::checkpoint_name(1, 1)).string(), Seconds(60), fill).step, 1);
    EXPECT_THROW(load_readonly(*all, (run / "ckpt" / io::checkpoint_name(2, 1)).string(), Seconds(60), fill),
                 ConfigError);
    EXPECT_THROW(load_readonly(*all, (run / "nothing").string(), Seconds(60), fill), ConfigError);
  });
  EXPECT_FALSE(io::RunStore(run.path()).is_bad(io::checkpoint_name(2, 1)));
}

}  // namespace
}  // namespace banyan::job
