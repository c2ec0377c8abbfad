#include "src/job/metrics.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "src/base/error.hpp"

namespace banyan::job {
namespace {

std::filesystem::path scratch(const char* name) {
  const std::filesystem::path dir =
      std::filesystem::temp_directory_path() / ("banyan-metrics-" + std::to_string(::getpid()));
  std::filesystem::create_directories(dir);
  return dir / name;
}

std::string contents(const std::filesystem::path& path) {
  std::ostringstream s;
  s << std::ifstream(path).rdbuf();
  return s.str();
}

TEST(Metrics, JsonKeepsEveryBitOfARealNumber) {
  const double loss = std::nextafter(3.1234567890123456, 4.0);
  const auto j = nlohmann::json::parse(json_line({{"step", std::int64_t{7}, "step"}, {"loss", loss, "loss", 4}}));
  EXPECT_EQ(j["step"], 7);
  EXPECT_EQ(j["loss"].get<double>(), loss);
}

TEST(Metrics, JsonHasNoNaNAndEscapesText) {
  const std::string line = json_line({{"a", std::numeric_limits<double>::quiet_NaN()}, {"b", std::string("x\"\n")}});
  const auto j = nlohmann::json::parse(line);
  EXPECT_TRUE(j["a"].is_null());
  EXPECT_EQ(j["b"], "x\"\n");
  EXPECT_EQ(line.find('\n'), std::string::npos);
}

TEST(Metrics, ConsoleShowsOnlyWhatHasALabel) {
  EXPECT_EQ(console_line({{"step", std::int64_t{7}, "step"}, {"x", 1.0}, {"loss", 3.14159, "loss", 2}}),
            "step 7  loss 3.14");
}

TEST(LineFile, CutsATornLastLineAndGoesOn) {
  const auto path = scratch("torn");
  std::ofstream(path) << "one\ntwo\nthr";
  LineFile(path).append("three");
  EXPECT_EQ(contents(path), "one\ntwo\nthree\n");
}

TEST(LineFile, CutsATornLineLongerThanABuffer) {
  const auto path = scratch("long");
  std::ofstream(path) << "one\n" << std::string(10000, 'x');
  LineFile(path).append("two");
  EXPECT_EQ(contents(path), "one\ntwo\n");
}

// A limit on the size of files stands for a full disk.
TEST(LineFile, LinesThatADiskDidNotTakeAreWrittenLater) {
  const auto path = scratch("full");
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  {
    LineFile file(path);
    file.append("one");
    ::rlimit full = before;
    full.rlim_cur = 6;
    ::setrlimit(RLIMIT_FSIZE, &full);
    EXPECT_THROW(file.append("two two"), IoError);
    EXPECT_THROW(file.append("three"), IoError);
    EXPECT_EQ(contents(path), "one\n");
    ::setrlimit(RLIMIT_FSIZE, &before);
    file.append("four");
    EXPECT_EQ(contents(path), "one\ntwo two\nthree\nfour\n");
    ::setrlimit(RLIMIT_FSIZE, &full);
    EXPECT_THROW(file.append("the last"), IoError);
    ::setrlimit(RLIMIT_FSIZE, &before);
  }
  EXPECT_EQ(contents(path), "one\ntwo two\nthree\nfour\nthe last\n");
}

// A job that slept while another took its run over: what that one wrote stays.
TEST(LineFile, LinesOfAnotherAreNeverWrittenOver) {
  const auto path = scratch("two");
  LineFile mine(path);
  mine.append("one");
  LineFile(path).append("theirs");
  mine.append("late");
  LineFile(path).append("theirs again");
  EXPECT_EQ(contents(path), "one\ntheirs\nlate\ntheirs again\n");
}

TEST(LineFile, EmptiesAFileThatIsOneTornLine) {
  const auto path = scratch("only");
  std::ofstream(path) << std::string(9000, 'x');
  LineFile(path).append("one");
  EXPECT_EQ(contents(path), "one\n");
}

}  // namespace
}  // namespace banyan::job
