#include "src/job/fruitless.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/temp_dir.hpp"

namespace banyan::job {
namespace {

namespace fs = std::filesystem;
using Numbers = std::vector<std::int64_t>;

class FruitlessTest : public ::testing::Test {
 protected:
  FruitlessTest() { fs::create_directories(dir_.path() / "causes"); }

  void start(std::int64_t attempt, std::int64_t from, bool rolled_back = false) {
    std::ofstream(dir_.path() / "attempts.jsonl", std::ios::app)
        << R"({"attempt": )" << attempt << R"(, "from_step": )" << from
        << (rolled_back ? R"(, "rolled_back": 1})" : "}") << "\n";
    std::ofstream(dir_.path() / "causes" / (std::to_string(attempt) + ".json")) << R"({"attempt": 1})";
  }
  void cause(std::int64_t attempt, int rank, const std::string& fields) {
    std::ofstream(dir_.path() / "causes" / (std::to_string(attempt) + "." + std::to_string(rank) + ".json"))
        << R"({"rank": )" << rank << R"(, "host": "n)" << rank << R"(", )" << fields << "}";
  }
  Fruitless of(std::int64_t attempt, std::int64_t from, std::int64_t limit = 3) {
    return fruitless_attempts(dir_.path(), attempt, from, limit);
  }

  test::TempDir dir_;
};

TEST_F(FruitlessTest, NothingIsFruitlessBeforeTheFirst) {
  EXPECT_TRUE(of(1, 0).attempts.empty());
  fs::remove_all(dir_.path() / "causes");
  EXPECT_TRUE(of(1, 0, 1).attempts.empty());
}

TEST_F(FruitlessTest, FailuresFromTheSameStepCount) {
  for (int n = 1; n <= 4; ++n) start(n, 20);
  EXPECT_EQ(of(5, 20).attempts, (Numbers{2, 3, 4})) << "as many as asked for";
  EXPECT_EQ(of(5, 20, 4).attempts, (Numbers{1, 2, 3, 4}));
  EXPECT_TRUE(of(5, 20, 5).attempts.empty()) << "too few";
  EXPECT_EQ(of(4, 20).attempts, (Numbers{1, 2, 3})) << "only those before";
  EXPECT_TRUE(of(5, 40, 1).attempts.empty()) << "the last of them saved step 40";
  EXPECT_TRUE(of(5, 10, 1).attempts.empty()) << "going back to an older checkpoint is a new beginning";
}

TEST_F(FruitlessTest, ProgressBeginsTheCountAnew) {
  start(1, 0);
  start(2, 0);
  start(3, 20);
  start(4, 20);
  EXPECT_EQ(of(5, 20, 2).attempts, (Numbers{3, 4}));
  EXPECT_TRUE(of(5, 20, 3).attempts.empty());
}

TEST_F(FruitlessTest, WhatSomebodyWantedIsNoFailure) {
  for (int n = 1; n <= 8; ++n) start(n, 0);
  const int wanted[] = {0, 64, 73, 75, 78};
  for (int i = 0; i < 5; ++i) cause(i + 2, 1, R"("code": )" + std::to_string(wanted[i]));
  cause(2, 0, R"("code": 69)");
  for (const int code : {76, 70}) cause(code - 68, 0, R"("code": )" + std::to_string(code));
  EXPECT_EQ(of(9, 0, 2).attempts, (Numbers{7, 8}));
  EXPECT_EQ(of(9, 0, 3).attempts, (Numbers{1, 7, 8})) << "those in between are passed over";
}

TEST_F(FruitlessTest, RollingBackIsNoStart) {
  start(1, 0);
  start(2, 20, true);
  start(3, 20, true);
  EXPECT_TRUE(of(4, 20, 1).attempts.empty()) << "the process began at step 0 and saved step 20";
  start(4, 20);
  EXPECT_EQ(of(5, 20, 1).attempts, Numbers{4});
}

TEST_F(FruitlessTest, SaysHowTheLastOneEnded) {
  start(1, 0);
  EXPECT_NE(of(2, 0, 1).last_words.find("without a word"), std::string::npos);
  cause(1, 0, R"("code": 69, "message": "rank 2 is lost", "peer": 2, "step": 7)");
  EXPECT_EQ(of(2, 0, 1).last_words, "rank 0 on n0 ended with 69 in step 7: rank 2 is lost");
  cause(1, 2, R"("code": 76, "message": "NaN", "step": 7)");
  cause(1, 3, R"("code": 69, "message": "rank 2 is lost", "peer": 2, "step": 7)");
  EXPECT_EQ(of(2, 0, 1).last_words, "rank 2 on n2 ended with 76 in step 7: NaN") << "whose own failure it was";
}

TEST_F(FruitlessTest, TornAndForeignLinesArePassedOver) {
  start(1, 0);
  std::ofstream(dir_.path() / "attempts.jsonl", std::ios::app) << "\n[]\n{\"attempt\": \"two\"}\n{\"attempt\": 2}\n";
  start(3, 0);
  std::ofstream(dir_.path() / "attempts.jsonl", std::ios::app) << "{\"attempt\": 4, \"from_s";
  std::ofstream(dir_.path() / "causes" / "3.0.json") << "{\"code\"";
  std::ofstream(dir_.path() / "causes" / "3.1.json") << R"({"code": "many"})";
  std::ofstream(dir_.path() / "causes" / "notes") << "hello";
  EXPECT_EQ(of(5, 0, 2).attempts, (Numbers{1, 3}));
}

}  // namespace
}  // namespace banyan::job
