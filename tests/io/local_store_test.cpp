#include "io/local_store.hpp"

#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "src/base/error.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::io {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

constexpr const char* kUuid = "0123456789abcdef0123456789abcdef";

class LocalStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { make_directories(run / "ckpt"); }
  /// Commits a checkpoint of which this node has the files named in `here`, out of "a" and "b".
  void commit(LocalStore& to, std::int64_t step, std::int64_t epoch, const std::vector<std::string>& here,
              const std::string& uuid = kUuid, const std::string& level = kLocalLevel) {
    Manifest m;
    m.run_uuid = uuid;
    m.step = step;
    m.epoch = epoch;
    m.extra[kLevel] = level;
    for (const char* name : {"a", "b"}) m.files.push_back({name, 3, digest_bytes("abc")});
    const std::string name = checkpoint_name(step, epoch);
    make_directories(to.store().tmp_of(name));
    for (const std::string& file : here) write_atomic(to.store().tmp_of(name) / file, "abc");
    write_atomic(to.store().tmp_of(name) / kManifestName, write_manifest(m));
    to.store().commit(name);
  }
  std::vector<std::string> held(const LocalStore& of) {
    std::vector<std::string> lines;
    problems.clear();
    for (const LocalHolding& h : of.holdings(problems))
      lines.push_back(fmt::format("{} {}", h.id.name, fmt::join(h.files, ",")));
    return lines;
  }

  TempDir local, run;
  LocalStore store{local.path(), kUuid};
  std::vector<std::string> problems;
  using Lines = std::vector<std::string>;
};

TEST_F(LocalStoreTest, TellsWhatThisNodeHas) {
  store.open(run.path(), 1);
  EXPECT_EQ(held(store), Lines{});
  commit(store, 10, 1, {"a", "b"});
  commit(store, 20, 1, {"b"});
  commit(store, 15, 2, {});
  EXPECT_EQ(held(store), (Lines{"step-000000015.e2 ", "step-000000020.e1 1", "step-000000010.e1 0,1"}));
  EXPECT_EQ(problems, Lines{});
  EXPECT_EQ(store.manifest("step-000000020.e1").step, 20);
}

TEST_F(LocalStoreTest, StrangeContentsAreNamedAndNotUsed) {
  store.open(run.path(), 1);
  for (std::int64_t step = 1; step <= 7; ++step) commit(store, step, 1, {"a", "b"});
  const auto at = [&](std::int64_t step) { return store.store().path_of(checkpoint_name(step, 1)); };
  fs::remove(at(1) / "a");  // a link in a file's place
  fs::create_symlink("/etc/passwd", at(1) / "a");
  fs::resize_file(at(2) / "b", 2);
  std::ofstream(at(3) / kManifestName) << "{}";
  fs::remove(at(4) / kManifestName);
  fs::rename(at(5), store.store().path_of(checkpoint_name(50, 1)));
  commit(store, 8, 1, {"a"}, "another");
  commit(store, 9, 1, {"a"}, kUuid, "shared");
  fs::remove(at(6) / "a");
  fs::create_directory(at(6) / "a");
  EXPECT_EQ(held(store),
            (Lines{"step-000000007.e1 0,1", "step-000000006.e1 1", "step-000000002.e1 0", "step-000000001.e1 1"}));
  EXPECT_EQ(problems.size(), 8u) << fmt::format("{}", fmt::join(problems, "\n"));
}

TEST_F(LocalStoreTest, MustBeThereAndOfThisUserAlone) {
  LocalStore missing(local / "missing", kUuid);
  EXPECT_THROW(missing.open(run.path(), 1), IoError);
  EXPECT_FALSE(path_exists(local / "missing"));
  EXPECT_THROW(LocalStore(local.path(), "../elsewhere"), DataError);
  EXPECT_THROW(LocalStore(local.path(), ""), DataError);

  fs::create_directory(store.directory());
  ASSERT_EQ(::chmod(store.directory().c_str(), 0770), 0);
  EXPECT_THROW(store.open(run.path(), 1), DataError);
  fs::remove_all(store.directory());
  fs::create_directory(local / "other");
  ASSERT_EQ(::chmod((local / "other").c_str(), 0700), 0);
  fs::create_directory_symlink(local / "other", store.directory());
  EXPECT_THROW(store.open(run.path(), 1), DataError);
  fs::remove(store.directory());

  store.open(run.path(), 1);
  struct stat s {};
  ASSERT_EQ(::stat(store.directory().c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 0777, 0700u);
}

TEST_F(LocalStoreTest, LeftOversOfOlderAttemptsGo) {
  store.open(run.path(), 1);
  commit(store, 10, 1, {"a"});
  for (std::int64_t epoch : {1, 2, 3}) make_directories(store.store().tmp_of(checkpoint_name(11, epoch)));
  LocalStore next(local.path(), kUuid);
  next.open(run.path(), 3);
  EXPECT_FALSE(path_exists(store.store().tmp_of(checkpoint_name(11, 2))));
  EXPECT_TRUE(path_exists(store.store().tmp_of(checkpoint_name(11, 3))));
  EXPECT_EQ(held(next), Lines{"step-000000010.e1 0"});
}

TEST_F(LocalStoreTest, KeepsTheNewestAndLeavesLaterAttemptsAlone) {
  store.open(run.path(), 2);
  for (std::int64_t step : {10, 20, 30}) commit(store, step, 1, {"a"});
  for (std::int64_t step : {25, 28, 31}) commit(store, step, 2, {"a"});
  commit(store, 26, 3, {"a"});
  store.prune(2, 2);
  EXPECT_EQ(held(store), (Lines{"step-000000026.e3 0", "step-000000031.e2 0", "step-000000028.e2 0"}));
  store.prune(2, 1, "step-000000028.e2");
  EXPECT_EQ(held(store), (Lines{"step-000000026.e3 0", "step-000000031.e2 0", "step-000000028.e2 0"}));
  store.prune(2, 1);
  EXPECT_EQ(held(store), (Lines{"step-000000026.e3 0", "step-000000031.e2 0"}));
  store.remove();
  EXPECT_FALSE(path_exists(store.directory()));
}

TEST_F(LocalStoreTest, SeesAnotherNodeInTheSameDirectory) {
  store.open(run.path(), 1);
  store.sign("mine");
  EXPECT_FALSE(store.shares("mine"));
  LocalStore other(local.path(), kUuid);
  other.open(run.path(), 1);
  other.sign("theirs");
  EXPECT_TRUE(store.shares("mine"));
}

TEST_F(LocalStoreTest, WhatIsOfNoUseToOtherRunsGoes) {
  const auto left = [&](const std::string& uuid, const fs::path& run_dir, std::int64_t step, std::int64_t epoch) {
    LocalStore other(local.path(), uuid);
    other.open(run_dir, epoch);
    if (step > 0) commit(other, step, epoch, {"a"}, uuid);
  };
  const auto run_with = [&](const std::string& name, std::int64_t step, std::int64_t epoch) {
    const RunStore there(run / name);
    make_directories(there.tmp_of(checkpoint_name(step, epoch)));
    there.commit(checkpoint_name(step, epoch));
    return run / name;
  };
  left("newer", run_with("1", 30, 1), 35, 1);
  left("older", run_with("2", 30, 1), 25, 1);
  left("later", run_with("3", 30, 1), 25, 2);
  left("done", run_with("4", 30, 2), 25, 1);
  left("empty", run_with("5", 30, 2), 0, 1);
  left("gone", run / "6", 10, 1);
  left("unmounted", run / "7" / "run", 10, 1);
  LocalStore live(local.path(), "live");
  live.open(run_with("8", 30, 1), 1);
  fs::create_directory(local / "banyan-of-somebody");  // anybody may look into it
  fs::create_directory(local / "something");
  store.open(run.path(), 1);
  EXPECT_EQ(store.sweep_others(), (Lines{"banyan-done", "banyan-empty", "banyan-gone", "banyan-older"}));
  for (const char* name :
       {"banyan-newer", "banyan-later", "banyan-unmounted", "banyan-live", "banyan-of-somebody", "something"})
    EXPECT_TRUE(path_exists(local / name)) << name;
  EXPECT_TRUE(path_exists(store.directory()));
}

TEST_F(LocalStoreTest, WaitsWhileAnotherJobLooks) {
  fs::create_directory(store.directory());
  ASSERT_EQ(::chmod(store.directory().c_str(), 0700), 0);
  std::ofstream(store.directory() / "LOCK").flush();
  const File file = File::open_for_writing(store.directory() / "LOCK");
  ASSERT_EQ(::flock(file.fd(), LOCK_EX | LOCK_NB), 0);
  EXPECT_THROW(store.open(run.path(), 1), IoError);
  ASSERT_EQ(::flock(file.fd(), LOCK_UN), 0);
  store.open(run.path(), 1);
}

TEST(LocalStore, KnowsMemoryFromDisks) {
  EXPECT_FALSE(in_memory("/proc"));
  EXPECT_FALSE(in_memory("/no/such/place"));
}

}  // namespace
}  // namespace banyan::io
