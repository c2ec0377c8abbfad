#include "src/infer/sampling.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <vector>

#include "src/base/error.hpp"

namespace banyan::infer {
namespace {

const std::vector<float> kLogits{0.5f, 2.0f, -1.0f, 2.0f, 1.0f};

std::map<std::int32_t, int> histogram(const SamplingOptions& options, int draws) {
  std::map<std::int32_t, int> counts;
  for (int i = 0; i < draws; ++i) ++counts[sample(kLogits, options, i % 7, i)];
  return counts;
}

TEST(Sampling, AtTemperatureZeroTakesTheFirstOfTheLikeliest) {
  for (int i = 0; i < 20; ++i) EXPECT_EQ(sample(kLogits, {.temperature = 0}, i, i), 1);
  EXPECT_EQ(sample(kLogits, {.temperature = 5, .top_k = 1}, 0, 0), 1);
}

TEST(Sampling, IsAFunctionOfSeedPromptAndPosition) {
  const SamplingOptions options{.temperature = 2, .seed = 3};
  std::set<std::int32_t> over_positions, over_prompts, over_seeds;
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(sample(kLogits, options, 4, i), sample(kLogits, options, 4, i));
    over_positions.insert(sample(kLogits, options, 4, i));
    over_prompts.insert(sample(kLogits, options, i, 4));
    over_seeds.insert(sample(kLogits, {.temperature = 2, .seed = static_cast<std::uint64_t>(i)}, 4, 4));
  }
  EXPECT_GT(over_positions.size(), 2u);
  EXPECT_GT(over_prompts.size(), 2u);
  EXPECT_GT(over_seeds.size(), 2u);
}

TEST(Sampling, FollowsTheSoftmaxOfTheTemperature) {
  for (double temperature : {0.5, 1.0, 2.0}) {
    const int draws = 20000;
    const std::map<std::int32_t, int> counts = histogram({.temperature = temperature}, draws);
    double sum = 0;
    for (float l : kLogits) sum += std::exp(l / temperature);
    for (std::size_t i = 0; i < kLogits.size(); ++i) {
      const double expected = std::exp(kLogits[i] / temperature) / sum;
      const auto it = counts.find(static_cast<std::int32_t>(i));
      EXPECT_NEAR((it == counts.end() ? 0 : it->second) / double{draws}, expected, 0.015);
    }
  }
}

TEST(Sampling, CutsToTheLikeliest) {
  std::set<std::int32_t> seen;
  for (const auto& [token, count] : histogram({.temperature = 3, .top_k = 3}, 2000)) seen.insert(token);
  EXPECT_EQ(seen, (std::set<std::int32_t>{1, 3, 4}));
  seen.clear();
  // e^2 + e^2 of a sum of 19.5: the two likeliest have 0.76 of the probability.
  for (const auto& [token, count] : histogram({.temperature = 1, .top_p = 0.7}, 2000)) seen.insert(token);
  EXPECT_EQ(seen, (std::set<std::int32_t>{1, 3}));
  EXPECT_EQ(histogram({.temperature = 1, .top_p = 0}, 100).size(), 1u);
  EXPECT_EQ(histogram({.temperature = 50, .top_k = 100}, 2000).size(), 5u);
}

TEST(Sampling, RefusesWhatIsNotFinite) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    for (std::size_t at : {std::size_t{0}, std::size_t{2}}) {
      std::vector<float> logits = kLogits;
      logits[at] = bad;
      EXPECT_THROW(sample(logits, {.temperature = 0}, 0, 0), NumericsError);
    }
}

}  // namespace
}  // namespace banyan::infer
