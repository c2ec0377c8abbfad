#include "src/job/save_interval.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "tests/temp_dir.hpp"

namespace banyan::job {
namespace {

// The overhead of an interval t in first order, save/t + t/(2 M), is least where the rule says, within a few percent.
TEST(SaveInterval, IsNearTheCheapest) {
  for (const double save : {1.0, 10.0, 60.0})
    for (const double between : {3600.0, 24 * 3600.0, 30 * 24 * 3600.0}) {
      const double t = save_interval(Seconds(save), Seconds(between)).count();
      // Daly's exact expected time of a unit of work: M e^(R/M) (e^((t+c)/M) - 1) / t; restarts cost the same for all
      // t.
      const auto cost = [&](double x) { return between * std::expm1((x + save) / between) / x; };
      double best = cost(t);
      for (double x = t / 4; x < 4 * t; x *= 1.01) best = std::min(best, cost(x));
      EXPECT_LT(cost(t), best * 1.0005) << save << " " << between;
    }
}

TEST(SaveInterval, HasBounds) {
  EXPECT_EQ(save_interval(Seconds(100), Seconds(20)), Seconds(20)) << "a save takes longer than two lives";
  EXPECT_EQ(save_interval(Seconds(0), Seconds(0)), Seconds(1));
  EXPECT_GT(save_interval(Seconds(0), Seconds(1e6)), Seconds(1));
}

TEST(SaveInterval, TakesNoMoreThanTheShareThatIsAllowed) {
  const Seconds save(2), between(3600);
  const Seconds free = save_interval(save, between);
  for (const double overhead : {0.1, 0.01, 0.001}) {
    const Seconds t = save_interval(save, between, overhead);
    EXPECT_LE(save / (save + t), overhead * (1 + 1e-9));
    EXPECT_GE(t, free);
    if (save / (save + free) <= overhead) {
      EXPECT_EQ(t, free);
    }
  }
  EXPECT_GT(save_interval(save, between, 0.001), free);
  EXPECT_NEAR(save_interval(Seconds(100), Seconds(20), 0.5).count(), 100, 1e-9);
}

TEST(TimeBetweenFailures, GoesFromWhatIsUsualToWhatWasSeen) {
  EXPECT_NEAR(time_between_failures({}, 2048).count(), 54.0 * 24 * 3600 / 466, 1);
  EXPECT_NEAR(time_between_failures({}, 1).count(), 237.3 * 24 * 3600, 3600);
  const Seconds bad = time_between_failures({.failures = 1000, .time = Seconds(1000 * 600)}, 2048);
  EXPECT_NEAR(bad.count(), 600, 20) << "every ten minutes";
  EXPECT_GT(time_between_failures({.failures = 0, .time = Seconds(1e9)}, 4), time_between_failures({}, 4));
}

TEST(ReadHistory, CountsAttemptsThatDidNotLeaveWell) {
  const test::TempDir dir;
  EXPECT_EQ(read_history(dir.path(), 1, 1000).failures, 0);
  std::filesystem::create_directories(dir.path() / "causes");
  std::ofstream(dir.path() / "attempts.jsonl") << R"({"attempt": 1, "started": "2026-01-01T00:00:00Z"})"
                                                  "\n"
                                               << R"({"attempt": 2, "started": "2026-01-01T01:00:00Z"})"
                                                  "\n"
                                               << R"({"attempt": 2, "started": "2026-01-01T01:10:00Z"})"
                                                  "\n"
                                               << R"({"attempt": 3, "started": "2026-01-01T02:00:00Z"})"
                                                  "\n"
                                               << R"({"attempt": 4, "started": "never"})"
                                                  "\n"
                                               << R"({"attempt": 5, "started": "2026-01-01T03:00:00Z"})"
                                                  "\n"
                                               << "{\"torn";
  const auto cause = [&](const char* name, const char* text) { std::ofstream(dir.path() / "causes" / name) << text; };
  cause("1.0.json", R"({"attempt": 1, "rank": 0, "code": 75})");
  cause("2.0.json", R"({"attempt": 2, "rank": 0, "code": 69})");
  cause("4.0.json", R"({"attempt": 4, "rank": 0, "code": 0})");
  cause("3.0.json", "{");
  const double start = 1767225600;  // 2026-01-01
  const FailureHistory h = read_history(dir.path(), 5, start + 4 * 3600);
  EXPECT_EQ(h.failures, 2) << "2 lost a peer, 3 left no record; 5 is this one";
  EXPECT_EQ(h.time, Seconds(4 * 3600));
}

}  // namespace
}  // namespace banyan::job
