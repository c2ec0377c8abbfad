#include "perf/published.hpp"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>

namespace banyan::perf {
namespace {

/// Mean error of a table; prints every row's.
double mean_error(const PublishedTable& table) {
  const plan::Machine machine = plan::load_machine(std::string(BANYAN_SOURCE_DIR "/") + table.machine);
  double sum = 0;
  for (const PublishedRow& row : table.rows) {
    const PublishedPrediction p = predict(row, machine);
    fmt::print("{:<18} published {:.0f} predicted {:.1f} TFLOP/s  {:+.1f} %\n", row.name, row.published / 1e12,
               p.predicted / 1e12, 100 * p.error);
    // A paper frees tensors early to make its largest model fit; the estimate knows nothing of that.
    EXPECT_LT(p.memory.total(), 1.1 * machine.memory_bytes) << row.name;
    EXPECT_GE(p.division.microbatch, 1);
    sum += std::abs(p.error);
  }
  return sum / static_cast<double>(table.rows.size());
}

TEST(Published, MegatronsTableIsReproduced) {
  ASSERT_EQ(published_tables().at(0).rows.size(), 10u);
  EXPECT_LT(mean_error(published_tables().at(0)), 0.03);
}

TEST(Published, Llamas405BIsReproduced) {
  ASSERT_EQ(published_tables().at(1).rows.size(), 3u);
  EXPECT_LT(mean_error(published_tables().at(1)), 0.08);
}

}  // namespace
}  // namespace banyan::perf
