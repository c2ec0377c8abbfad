// banyan inspect as a user runs it, on checkpoints written here.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>

#include "io/run_store.hpp"
#include "io/view_file.hpp"
#include "src/base/json.hpp"
#include "tests/io/checkpoint_fixture.hpp"
#include "tests/temp_dir.hpp"

namespace banyan {
namespace {

struct Ran {
  int code = -1;
  std::string out;  ///< standard output and error
};

Ran shell(const std::string& command) {
  Ran r;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  std::array<char, 4096> buffer;
  for (std::size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) r.out.append(buffer.data(), n);
  const int status = ::pclose(pipe);
  r.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return r;
}

Ran inspect(const std::string& arguments) { return shell(std::string(BANYAN_BINARY) + " inspect " + arguments); }

class InspectTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (std::int64_t step : {1, 2, 3}) write(step);
    io::make_directories(run / "lease" / "e1");
    io::write_atomic(run / "lease" / "e1" / "BASE", R"({"name":"","digest":""})");
    io::make_directories(store.tmp_of(io::checkpoint_name(4, 1)));
    store.mark_bad(name(3), "somebody found a flipped bit");
  }
  void write(std::int64_t step) {
    const auto model = test::small_model(static_cast<float>(step));
    io::write_view(store.path_of(name(step)), test::write_small_checkpoint(store.path_of(name(step)), model, step, 1));
  }
  static std::string name(std::int64_t step) { return io::checkpoint_name(step, 1); }
  std::string path(std::int64_t step) { return store.path_of(name(step)).string(); }

  test::TempDir run;
  io::RunStore store{run.path()};
};

TEST_F(InspectTest, ListsARun) {
  const Ran r = inspect(run.path().string());
  EXPECT_EQ(r.code, 0) << r.out;
  EXPECT_NE(r.out.find("4 checkpoints"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("* step-000000002.e1    committed"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("step-000000003.e1    BAD"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("somebody found a flipped bit"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("step-000000004.e1    tmp"), std::string::npos) << r.out;
}

TEST_F(InspectTest, JsonHasTheSame) {
  const Ran r = inspect(run.path().string() + " --json --tensors --digest --verify");
  ASSERT_EQ(r.code, 0) << r.out;
  const Json j = parse_json(r.out, "output");
  ASSERT_EQ(j["checkpoints"].size(), 4u);
  const Json& chosen = j["checkpoints"][2];
  EXPECT_EQ(chosen["name"], name(2));
  EXPECT_EQ(chosen["chosen"], true);
  EXPECT_EQ(chosen["step"], 2);
  EXPECT_EQ(chosen["parameters"], 29);
  EXPECT_EQ(chosen["tensors"].size(), 6u);
  EXPECT_EQ(j["digest"], io::CheckpointReader(path(2)).digest().hex());
}

TEST_F(InspectTest, VerifyFindsDamage) {
  EXPECT_EQ(inspect(path(1) + " --verify").code, 0);
  EXPECT_EQ(inspect(run.path().string() + " --verify").code, 0);
  std::fstream(store.path_of(name(1)) / "shard-00001.h5", std::ios::in | std::ios::out)
      .seekp(-1, std::ios::end)
      .put('x');
  const Ran r = inspect(path(1) + " --verify");
  EXPECT_EQ(r.code, 65) << r.out;
  EXPECT_NE(r.out.find("shard-00001.h5"), std::string::npos) << r.out;
  EXPECT_EQ(inspect(run.path().string() + " --verify").code, 65);
  EXPECT_EQ(inspect(run.path().string()).code, 0);  // not asked to look
  std::filesystem::remove(store.path_of(name(2)) / "MANIFEST.json");
  EXPECT_EQ(inspect(run.path().string()).code, 65);
}

TEST_F(InspectTest, WrongUse) {
  EXPECT_EQ(inspect("").code, 64);
  EXPECT_EQ(inspect("/nonexistent").code, 64);
  EXPECT_EQ(inspect(path(1) + " --tensor").code, 64);
  EXPECT_EQ(inspect(path(1) + " --merge").code, 64);
  EXPECT_EQ(inspect(run.path().string() + "/lease --digest").code, 65);
}

TEST_F(InspectTest, MergeAndViewInPython) {
  const std::string merged = (run / "merged.h5").string();
  const Ran r = inspect(path(2) + "/ --merge " + merged);
  EXPECT_EQ(r.code, 0) << r.out;
  EXPECT_EQ(inspect(path(2) + " --merge " + merged).code, 64);  // is there already
  if (shell("/usr/bin/python3 -c 'import h5py'").code != 0)
    GTEST_SKIP() << "SKIPPED LOUDLY: python3-h5py is not installed";
  for (const std::string& file : {merged, path(2) + "/view.h5"}) {
    const Ran p = shell("/usr/bin/python3 " BANYAN_SOURCE_DIR "/tests/app/read_tensors.py " + file + " 2");
    EXPECT_EQ(p.code, 0) << file << ": " << p.out;
  }
}

}  // namespace
}  // namespace banyan
