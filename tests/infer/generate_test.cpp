#include "src/infer/generate.hpp"

#include <gtest/gtest.h>

#include <mutex>
#include <random>

#include "src/base/error.hpp"
#include "src/base/signals.hpp"
#include "tests/infer/test_team.hpp"

namespace banyan::infer {
namespace {

std::vector<Prompt> some_prompts(int count, int longest = 30) {
  std::mt19937 random(5);
  std::vector<Prompt> prompts;
  for (int i = 0; i < count; ++i) {
    Prompt p{.index = i, .tokens = std::vector<std::int32_t>(1 + random() % static_cast<unsigned>(longest))};
    for (std::int32_t& t : p.tokens) t = static_cast<std::int32_t>(random() % 100);
    prompts.push_back(p);
  }
  return prompts;
}

/// All completions, generated on a mesh of loopback ranks; every rank must have the same.
std::vector<Completion> generate_on(const config::Config& config, int tensor, int pipeline, int data,
                                    const std::vector<Prompt>& prompts, const GenerateOptions& options) {
  std::vector<Completion> result;
  std::mutex mutex;
  comm::run_loopback(tensor * pipeline * data, [&](comm::World& world) {
    TestTeam t(world, config, tensor, pipeline);
    Generator generator(*t.team, options, {});
    const std::vector<Completion> mine = generator.generate(prompts_of(prompts, t.team->at.data, data));
    const std::vector<Completion> all = gather_completions(*t.team, mine);
    const std::lock_guard lock(mutex);
    if (result.empty()) result = all;
    ASSERT_EQ(result.size(), all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
      EXPECT_EQ(result[i].index, static_cast<std::int64_t>(i));
      EXPECT_EQ(result[i].tokens, all[i].tokens);
    }
  });
  return result;
}

void expect_equal(const std::vector<Completion>& a, const std::vector<Completion>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].tokens, b[i].tokens) << "prompt " << i;
    EXPECT_EQ(a[i].finish, b[i].finish);
  }
}

class Generate : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Kinds, Generate, testing::Values(false, true),
                         [](const auto& kind) { return kind.param ? "llama" : "gpt2"; });

TEST_P(Generate, GivesTheSameTextOnEveryMesh) {
  const config::Config config = small_config(GetParam());
  const std::vector<Prompt> prompts = some_prompts(5);
  for (double temperature : {0.0, 0.7}) {
    const GenerateOptions options{
        .sampling = {.temperature = temperature, .top_k = 20}, .batch = 3, .tokens = 12, .end_token = 7, .vocab = 99};
    const std::vector<Completion> one = generate_on(config, 1, 1, 1, prompts, options);
    for (const Completion& c : one)
      for (std::int32_t t : c.tokens) EXPECT_LT(t, 99);
    expect_equal(generate_on(config, 2, 1, 1, prompts, options), one);
    expect_equal(generate_on(config, 1, 2, 1, prompts, options), one);
    expect_equal(generate_on(config, 1, 4, 1, prompts, options), one);
    expect_equal(generate_on(config, 1, 1, 3, prompts, options), one);
    expect_equal(generate_on(config, 2, 2, 2, prompts, options), one);
  }
}

TEST_P(Generate, DoesNotDependOnWhatIsGeneratedBesideIt) {
  const config::Config config = small_config(GetParam());
  const std::vector<Prompt> prompts = some_prompts(6);
  GenerateOptions options{.sampling = {.temperature = 0.9}, .batch = 1, .tokens = 10, .end_token = -1, .vocab = 101};
  const std::vector<Completion> alone = generate_on(config, 1, 1, 1, prompts, options);
  options.batch = 6;
  expect_equal(generate_on(config, 1, 1, 1, prompts, options), alone);
}

TEST_P(Generate, WithACacheEqualsAFreshStartForEveryToken) {
  const config::Config config = small_config(GetParam());
  GenerateOptions options{.sampling = {.temperature = 0}, .batch = 1, .tokens = 10, .end_token = -1, .vocab = 101};
  std::vector<Prompt> prompt = some_prompts(1, 20);
  const std::vector<std::int32_t> tokens = generate_on(config, 1, 1, 1, prompt, options)[0].tokens;
  options.tokens = 1;
  for (std::int32_t expected : tokens) {
    EXPECT_EQ(generate_on(config, 1, 1, 1, prompt, options)[0].tokens, std::vector<std::int32_t>{expected});
    prompt[0].tokens.push_back(expected);
  }
}

TEST(GenerateOnce, RefusesACacheThatDoesNotFitIntoMemory) {
  const config::Config config = small_config(true);
  GenerateOptions options{.sampling = {.temperature = 1}, .batch = 2, .tokens = 4, .end_token = -1, .vocab = 101};
  options.planned = 1000;
  options.memory = 1 << 30;
  generate_on(config, 1, 1, 1, some_prompts(2), options);
  options.memory = 2000;
  try {
    generate_on(config, 1, 1, 1, some_prompts(2), options);
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("lower generate.batch = 2 or generate.tokens = 4"), std::string::npos)
        << e.what();
  }
}

TEST(GenerateOnce, EndsWhereTheContextIsFull) {
  const config::Config config = small_config(false);
  std::vector<Prompt> prompts{{.index = 0, .tokens = std::vector<std::int32_t>(48, 3)},
                              {.index = 1, .tokens = std::vector<std::int32_t>(40, 3)}};
  const GenerateOptions options{
      .sampling = {.temperature = 1}, .batch = 2, .tokens = 100, .end_token = -1, .vocab = 101};
  const std::vector<Completion> c = generate_on(config, 1, 1, 1, prompts, options);
  EXPECT_EQ(c[0].tokens.size(), 1u);
  EXPECT_EQ(c[1].tokens.size(), 9u);
  EXPECT_EQ(c[1].finish, Finish::kContext);
  prompts[0].tokens.push_back(3);
  try {
    generate_on(config, 1, 1, 1, prompts, options);
    FAIL();
  } catch (const DataError& e) {
    EXPECT_NE(std::string(e.what()).find("prompt 1 has 49 tokens, but model.context = 48"), std::string::npos)
        << e.what();
  }
}

TEST(GenerateOnce, StopsOnAllRanksAfterTheSameToken) {
  signals::reset();
  const config::Config config = small_config(false);
  comm::run_loopback(4, [&](comm::World& world) {
    TestTeam t(world, config, 2, 2);
    Generator generator(*t.team,
                        {.sampling = {.temperature = 0}, .batch = 2, .tokens = 30, .end_token = -1, .vocab = 101}, {});
    std::size_t calls = 0;
    const std::vector<Completion> c = generator.generate(some_prompts(2, 10), [&](const Batcher&) {
      if (++calls == 4 && world.rank() == 0) signals::request_stop(15);
    });
    EXPECT_TRUE(generator.stopped());
    EXPECT_EQ(c[0].finish, Finish::kStopped);
    EXPECT_LT(c[0].tokens.size(), 30u);
    expect_equal(gather_completions(*t.team, c), c);
  });
  signals::reset();
}

TEST(GenerateOnce, SharesMorePromptsThanReplicasAndFewer) {
  const config::Config config = small_config(false);
  const GenerateOptions options{.sampling = {.temperature = 0}, .batch = 2, .tokens = 3, .end_token = -1, .vocab = 101};
  for (int count : {1, 2, 7})
    expect_equal(generate_on(config, 1, 1, 4, some_prompts(count), options),
                 generate_on(config, 1, 1, 1, some_prompts(count), options));
}

}  // namespace
}  // namespace banyan::infer
