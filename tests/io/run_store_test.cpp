#include "io/run_store.hpp"

#include <gtest/gtest.h>

#include "io/atomic_file.hpp"
#include "io/lease.hpp"
#include "src/base/error.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::io {
namespace {

using test::TempDir;

/// A run directory whose checkpoints are empty directories: everything here goes by names.
class RunStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { make_directories(store.ckpt_dir()); }
  void commit(std::int64_t step, std::int64_t epoch) {
    make_directories(store.tmp_of(checkpoint_name(step, epoch)));
    store.commit(checkpoint_name(step, epoch));
  }
  void lease(std::int64_t epoch, const std::string& base) {
    const auto dir = run / "lease" / ("e" + std::to_string(epoch));
    make_directories(dir);
    write_atomic(dir / "BASE", "{\"name\":\"" + base + "\",\"digest\":\"d-" + base + "\"}");
  }
  void dead_lease(std::int64_t epoch) { make_directories(run / "lease" / ("e" + std::to_string(epoch))); }
  std::vector<std::string> chain(std::int64_t before) {
    std::vector<std::string> names;
    for (const CheckpointId& id : store.chain(before)) names.push_back(id.name);
    return names;
  }
  std::vector<std::string> listed() {
    std::vector<std::string> names;
    for (const CheckpointEntry& e : store.list()) names.push_back(e.name);
    return names;
  }
  static std::string n(std::int64_t step, std::int64_t epoch) { return checkpoint_name(step, epoch); }

  TempDir run;
  RunStore store{run.path()};
  using Names = std::vector<std::string>;
};

TEST_F(RunStoreTest, Names) {
  std::int64_t step = 0, epoch = 0;
  EXPECT_EQ(checkpoint_name(1200, 7), "step-000001200.e7");
  EXPECT_TRUE(parse_checkpoint_name("step-000001200.e7", step, epoch));
  EXPECT_EQ(step, 1200);
  EXPECT_EQ(epoch, 7);
  EXPECT_TRUE(parse_checkpoint_name(checkpoint_name(12345678901, 12), step, epoch));
  EXPECT_EQ(step, 12345678901);
  for (const char* bad : {"", "step-", "step-1.e1", "step-000000001", "step-000000001.e", "step-000000001.e0",
                          "step-000000001.e01", "step-00000001x.e1", "step--00000001.e1", "step-0000000001.e1",
                          "step-000000001.e1.tmp", "step-99999999999999999999.e1", "../step-000000001.e1"})
    EXPECT_FALSE(parse_checkpoint_name(bad, step, epoch)) << bad;
}

TEST_F(RunStoreTest, ListIsNewestFirstAndKnowsStates) {
  commit(100, 1);
  commit(300, 2);
  commit(200, 1);
  make_directories(store.tmp_of(n(400, 2)));
  make_directories(store.ckpt_dir() / "notes");
  store.mark_bad(n(200, 1), "flipped");
  const auto list = store.list();
  ASSERT_EQ(list.size(), 4u);
  EXPECT_EQ(list[0].state, CheckpointState::kTmp);
  EXPECT_EQ(list[1].name, n(300, 2));
  EXPECT_EQ(list[2].state, CheckpointState::kBad);
  EXPECT_EQ(list[3].state, CheckpointState::kCommitted);
  EXPECT_TRUE(store.is_bad(n(200, 1)));
  EXPECT_TRUE(RunStore(run / "nowhere").list().empty());
}

TEST_F(RunStoreTest, CommitNeverReplaces) {
  commit(100, 1);
  make_directories(store.tmp_of(n(100, 1)));
  EXPECT_THROW(store.commit(n(100, 1)), IoError);
  EXPECT_THROW(store.commit(n(500, 1)), IoError);
}

TEST_F(RunStoreTest, ChainFollowsBases) {
  lease(1, "");
  commit(100, 1);
  commit(200, 1);
  lease(2, n(200, 1));
  commit(300, 2);
  lease(3, n(300, 2));
  EXPECT_EQ(chain(4), (Names{n(300, 2), n(200, 1), n(100, 1)}));
  EXPECT_EQ(store.chain(4)[0].digest, "d-" + n(300, 2));  // pinned by its successor
  EXPECT_EQ(store.chain(4)[2].digest, "");
  EXPECT_EQ(chain(2), (Names{n(200, 1), n(100, 1)}));
  EXPECT_TRUE(chain(1).empty());
}

TEST_F(RunStoreTest, AZombiesLateCommitIsNotInTheChain) {
  lease(1, "");
  commit(100, 1);
  lease(2, n(100, 1));
  commit(150, 2);
  commit(200, 1);  // attempt 1 woke up after 2 had started from its step 100
  EXPECT_EQ(chain(3), (Names{n(150, 2), n(100, 1)}));
}

TEST_F(RunStoreTest, AttemptsThatDidNothingAreSkipped) {
  lease(1, "");
  commit(100, 1);
  dead_lease(2);
  dead_lease(3);
  EXPECT_EQ(chain(4), (Names{n(100, 1)}));
  lease(4, "");  // a fresh start that committed nothing
  EXPECT_EQ(chain(5), (Names{n(100, 1)}));
}

TEST_F(RunStoreTest, RollBackToAnOlderCheckpoint) {
  lease(1, "");
  commit(100, 1);
  commit(200, 1);
  commit(300, 1);
  lease(2, n(200, 1));
  EXPECT_EQ(chain(3), (Names{n(200, 1), n(100, 1)}));
  commit(250, 2);
  EXPECT_EQ(chain(3), (Names{n(250, 2), n(200, 1), n(100, 1)}));
  ASSERT_EQ(store.bases(3).size(), 2u);
  EXPECT_EQ(store.bases(3)[0].name, n(200, 1));
}

TEST_F(RunStoreTest, BaseOutsideEndsTheChain) {
  lease(1, "/elsewhere/ckpt/step-000000900.e3");
  EXPECT_TRUE(chain(2).empty());
  commit(100, 1);
  EXPECT_EQ(chain(2), (Names{n(100, 1)}));
  EXPECT_EQ(store.bases(2)[0].name, "/elsewhere/ckpt/step-000000900.e3");
}

TEST_F(RunStoreTest, CyclesAndNonsenseEnd) {
  lease(1, n(500, 3));
  lease(3, n(100, 1));
  commit(100, 1);
  EXPECT_EQ(chain(9), (Names{n(100, 1)}));
  lease(4, n(900, 4));
  EXPECT_TRUE(chain(5).empty());
}

TEST_F(RunStoreTest, PruneKeepsTheNewestGoodOnesOfTheOwnChain) {
  lease(1, "");
  for (std::int64_t step : {100, 200, 300, 400}) commit(step, 1);
  lease(2, n(400, 1));
  commit(900, 1);  // a zombie's
  commit(500, 2);
  commit(600, 2);
  store.mark_bad(n(500, 2), "damaged");
  const auto all = [](const std::string&) { return true; };
  EXPECT_EQ(store.prune(2, 3, all), (Names{n(200, 1), n(100, 1)}));
  EXPECT_EQ(listed(), (Names{n(900, 1), n(600, 2), n(500, 2), n(400, 1), n(300, 1)}));
  EXPECT_TRUE(store.prune(2, 3, all).empty());
  EXPECT_EQ(store.prune(2, 0, all).size(), 1u);  // two stay whatever is asked
  EXPECT_EQ(listed(), (Names{n(900, 1), n(600, 2), n(500, 2), n(400, 1)}));
}

TEST_F(RunStoreTest, PruneDoesNotCountOnWhatLooksDamaged) {
  lease(1, "");
  for (std::int64_t step : {100, 200, 300, 400, 500}) commit(step, 1);
  const auto most = [&](const std::string& name) { return name != n(400, 1) && name != n(300, 1); };
  EXPECT_EQ(store.prune(1, 2, most), Names{n(100, 1)});
  EXPECT_EQ(listed(), (Names{n(500, 1), n(400, 1), n(300, 1), n(200, 1)}));
  commit(600, 1);
  EXPECT_EQ(store.prune(1, 2, most), (Names{n(400, 1), n(300, 1), n(200, 1)})) << "two newer good ones are there";
}

TEST_F(RunStoreTest, SweepRemovesLeftOversOfTheDead) {
  lease(1, "");
  commit(100, 1);
  lease(2, n(100, 1));
  dead_lease(3);
  lease(4, n(100, 1));
  dead_lease(5);
  make_directories(store.tmp_of(n(150, 2)));
  make_directories(store.tmp_of(n(150, 6)));
  make_directories(store.ckpt_dir() / ".trash-step-000000050.e1" / "x");
  make_directories(run / "lease" / "prepare-abc");
  store.sweep(6);
  EXPECT_FALSE(path_exists(store.tmp_of(n(150, 2))));
  EXPECT_TRUE(path_exists(store.tmp_of(n(150, 6))));
  EXPECT_FALSE(path_exists(store.ckpt_dir() / ".trash-step-000000050.e1"));
  EXPECT_FALSE(path_exists(run / "lease" / "prepare-abc"));
  EXPECT_FALSE(path_exists(run / "lease" / "e3"));
  EXPECT_FALSE(path_exists(run / "lease" / "e2"));
  EXPECT_TRUE(path_exists(run / "lease" / "e1"));
  EXPECT_TRUE(path_exists(run / "lease" / "e4"));
  EXPECT_EQ(chain(6), (Names{n(100, 1)}));
}

TEST_F(RunStoreTest, NodeLocalOnesTakeTheirPlaceInTheChain) {
  const auto l = [](std::int64_t step, std::int64_t epoch) { return local_name(checkpoint_name(step, epoch)); };
  const auto chain_with = [&](std::int64_t before, const std::vector<CheckpointId>& local) {
    Names names;
    for (const CheckpointId& id : store.chain(before, local)) names.push_back(id.name + " " + id.digest);
    return names;
  };
  EXPECT_EQ(without_level(l(5, 1)), n(5, 1));
  EXPECT_EQ(without_level(n(5, 1)), n(5, 1));
  lease(1, "");
  // An attempt that has got to no commit in the run directory.
  EXPECT_EQ(chain_with(2, {{l(5, 1), "x"}}), Names{l(5, 1) + " x"});
  EXPECT_EQ(chain_with(1, {{l(5, 1), "x"}}), Names{});
  EXPECT_EQ(chain_with(2, {{"nonsense", "x"}, {"local/nonsense", "x"}}), Names{});
  commit(10, 1);
  const std::vector<CheckpointId> local{{l(12, 1), "x"}, {l(10, 1), "y"}, {l(8, 1), "z"}, {l(20, 3), "other"}};
  EXPECT_EQ(chain_with(2, local), (Names{l(12, 1) + " x", n(10, 1) + " ", l(10, 1) + " y", l(8, 1) + " z"}));
  // Continued from step 12, which is in memory only: later ones of the attempt before no longer count.
  lease(2, l(12, 1));
  commit(15, 1);
  EXPECT_EQ(chain_with(3, local),
            (Names{l(12, 1) + " d-" + l(12, 1), n(10, 1) + " ", l(10, 1) + " y", l(8, 1) + " z"}));
  EXPECT_EQ(chain_with(3, {}), Names{n(10, 1) + " "});  // and when the nodes have forgotten it
  EXPECT_EQ(store.bases(3).size(), 2u);
}

TEST_F(RunStoreTest, SweepKeepsTheWayBackThroughNodeLocalBases) {
  lease(1, "");
  commit(10, 1);
  lease(2, n(10, 1));
  lease(3, local_name(n(12, 2)));
  lease(4, local_name(n(14, 3)));
  lease(5, "");
  store.sweep(6);
  EXPECT_EQ(lease_epochs(run.path()), (std::vector<std::int64_t>{1, 2, 3, 4}));
  EXPECT_EQ(chain(6), Names{n(10, 1)});
  // Attempts before the oldest commit that is kept lead nowhere.
  commit(20, 4);
  remove_tree(store.path_of(n(10, 1)));
  store.sweep(7);
  EXPECT_EQ(lease_epochs(run.path()), std::vector<std::int64_t>{4});
}

TEST_F(RunStoreTest, Latest) {
  EXPECT_EQ(store.latest(), "");
  store.write_latest(n(100, 1));
  EXPECT_EQ(store.latest(), n(100, 1));
}

TEST_F(RunStoreTest, ManyCheckpointsAndRestartsAreListedQuickly) {
  for (std::int64_t i = 1; i <= 1000; ++i) {
    std::filesystem::create_directory(store.ckpt_dir() / n(i, i));
    if (i > 990) lease(i, i == 991 ? n(990, 990) : n(i - 1, i - 1));
  }
  EXPECT_EQ(store.list().size(), 1000u);
  EXPECT_EQ(chain(1001).front(), n(1000, 1000));
}

}  // namespace
}  // namespace banyan::io
