// Jobs whose ranks sit on several nodes, each with a directory of its own: what is saved there, what a start makes of
// it.
#include "src/job/local_level.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <map>

#include "io/atomic_file.hpp"
#include "src/base/error.hpp"
#include "tests/job/checkpoint_jobs.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::job {
namespace {

namespace fs = std::filesystem;
using test::age_of;
using test::all_of;
using test::checking_fill;
using test::committed;
using test::Holding;
using test::kQuick;
using test::TempDir;

/// A cluster whose nodes keep what they are given from job to job.
class LocalLevelTest : public ::testing::Test {
 protected:
  using Body = std::function<void(comm::World&, Checkpoints&, std::int64_t from)>;

  void SetUp() override { grow(4); }
  void grow(int count) {
    for (int n = 0; n < count; ++n) io::make_directories(place(n));
  }
  fs::path place(int node) const { return nodes / std::to_string(node); }
  /// NODE/banyan-UUID/ckpt of a node that has one.
  fs::path ckpt(int node) const {
    for (const auto& entry : fs::directory_iterator(place(node))) return entry.path() / "ckpt";
    return place(node) / "nothing";
  }
  fs::path file(int node, std::int64_t step, std::int64_t epoch, int rank) const {
    return ckpt(node) / io::checkpoint_name(step, epoch) / fmt::format("shard-{:05}.h5", rank);
  }
  /// Reads what this rank would write, so that it needs its own file alone.
  static int differences(Source& source, int rank, int ranks) {
    int wrong = 0;
    for (const io::TensorKind kind : test::kKinds)
      for (const test::Logical& t : test::logical_model()) {
        const io::Slab slab = test::part_of(t.shape, rank, ranks);
        if (slab.elements() == 0) continue;
        std::vector<float> out(static_cast<std::size_t>(slab.elements()), -1.0f);
        source.read_slab(kind, t.name, slab.offset, View(out.data(), slab.count));
        wrong += out != test::values_of(t, kind, slab, age_of(source.manifest()));
      }
    return wrong;
  }
  static void flip(const fs::path& path) {
    std::fstream f(path, std::ios::in | std::ios::out | std::ios::binary);
    f.seekg(-5, std::ios::end);
    const char byte = static_cast<char>(f.get() ^ 1);
    f.seekp(-5, std::ios::end);
    f.put(byte);
  }

  /// One job of `ranks` ranks, two on each node, whose nodes are those of `on` (its size decides how many).  Returns
  /// the step it resumed from, -1: fresh.
  std::int64_t job(const std::vector<int>& on, const Body& body = {}, const std::string& resume = "auto") {
    std::int64_t resumed = -2;
    const int ranks = static_cast<int>(2 * on.size());
    comm::run_loopback(
        ranks,
        [&](comm::World& world) {
          const auto all = all_of(world);
          std::vector<int> members;
          for (int r = 0; r < ranks; ++r) members.push_back(r);
          const auto copies = world.group(members, 2, "copies");
          CheckpointOptions options{.run_dir = run.path().string(), .resume = resume, .lease = kQuick};
          options.local.directory = place(on[static_cast<std::size_t>(world.node(world.rank()))]).string();
          options.local.copies = copies.get();
          set_places(options.local, world, members);
          Checkpoints checkpoints(*all, options);
          usable[world.rank()] = checkpoints.local();
          int wrong = -1;
          const auto others = checking_fill(world.rank(), ranks, age_of, wrong);
          const auto from = checkpoints.load([&](Source& source) {
            if (others_cut)
              others(source);
            else
              wrong = differences(source, world.rank(), ranks);
          });
          EXPECT_EQ(wrong, from ? 0 : -1);
          const std::int64_t step = from ? from->step : -1;
          if (world.rank() == 0) resumed = step;
          if (body) body(world, checkpoints, step);
        },
        2);
    return resumed;
  }
  /// Saves that must succeed; steps below 0 go into the run directory.
  static Body saves(std::vector<std::int64_t> steps, bool in_background = false) {
    return [=](comm::World& world, Checkpoints& c, std::int64_t) {
      for (const std::int64_t s : steps) {
        const Level level = s < 0 ? Level::kRunDir : Level::kNodes;
        const std::int64_t step = std::abs(s);
        Holding mine(world.rank(), world.size(), static_cast<int>(step));
        SaveResult r;
        if (in_background) {
          r = c.begin({.step = step}, mine.tensors, level);
          EXPECT_TRUE(r.ok) << r.error;
          for (auto& values : mine.memory) std::fill(values.begin(), values.end(), -1.0f);  // training goes on
          if (c.in_flight()) r = c.finish();
        } else {
          r = c.save({.step = step}, mine.tensors, level);
        }
        EXPECT_TRUE(r.ok) << r.error;
      }
    };
  }

  TempDir run, nodes;
  std::map<int, bool> usable_of(int ranks) const {
    std::map<int, bool> all;
    for (int r = 0; r < ranks; ++r) all[r] = usable[r];
    return all;
  }
  bool usable[16] = {};
  bool others_cut = false;  ///< ranks read what others have written
};

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
