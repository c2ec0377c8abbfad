#include "src/infer/batcher.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "src/base/error.hpp"

namespace banyan::infer {
namespace {

constexpr std::int32_t kEnd = 9999;

/// What a model that adds up its context would say next: a function of the whole sequence, so that any row that is
/// missing, repeated or in the wrong place changes the result.
std::int32_t next_token(const std::vector<std::int32_t>& sequence) {
  std::uint32_t h = 17;
  for (std::int32_t t : sequence) h = h * 31 + static_cast<std::uint32_t>(t);
  return h % 23 == 0 ? kEnd : static_cast<std::int32_t>(h % 500);
}

/// A key and value cache that remembers tokens, and checks that blocks belong to one sequence at a time.
class FakeModel {
 public:
  FakeModel(const BatchLimits& limits)
      : limits_(limits), memory_(static_cast<std::size_t>(limits.blocks * limits.block_size), -1) {}

  std::vector<std::int32_t> run(const Call& call) {
    EXPECT_LE(static_cast<std::int64_t>(call.tokens.size()), limits_.rows);
    EXPECT_LE(static_cast<std::int64_t>(call.start.size()), limits_.batch);
    std::set<std::int32_t> used;
    std::map<std::int32_t, std::vector<std::int32_t>> by_row;
    for (std::size_t s = 0; s < call.start.size(); ++s) {
      const std::int32_t rows = call.offsets[s + 1] - call.offsets[s];
      EXPECT_GT(rows, 0);
      const auto at = [&](std::int32_t position) -> std::int32_t& {
        const std::int32_t block = call.block_table[s * static_cast<std::size_t>(call.blocks_per_sequence) +
                                                    static_cast<std::size_t>(position / limits_.block_size)];
        return memory_.at(static_cast<std::size_t>(block * limits_.block_size + position % limits_.block_size));
      };
      for (std::int32_t i = 0; i < rows; ++i)
        at(call.start[s] + i) = call.tokens[static_cast<std::size_t>(call.offsets[s] + i)];
      const std::int32_t length = call.start[s] + rows;
      EXPECT_LE(length, limits_.context);
      for (std::int32_t p = 0; p < length; p += limits_.block_size)
        EXPECT_TRUE(used.insert(call.block_table[s * static_cast<std::size_t>(call.blocks_per_sequence) +
                                                 static_cast<std::size_t>(p / limits_.block_size)])
                        .second);
      std::vector<std::int32_t> sequence;
      for (std::int32_t p = 0; p < length; ++p) sequence.push_back(at(p));
      by_row[call.offsets[s + 1] - 1] = sequence;
    }
    std::vector<std::int32_t> chosen;
    for (const Call::Choice& c : call.choices) {
      EXPECT_EQ(static_cast<std::int64_t>(by_row.at(c.row).size()), c.position);
      chosen.push_back(next_token(by_row.at(c.row)));
    }
    return chosen;
  }

 private:
  BatchLimits limits_;
  std::vector<std::int32_t> memory_;
};

Completion alone(const Prompt& prompt, std::int64_t tokens, std::int64_t context) {
  Completion c{.index = prompt.index, .tokens = {}, .finish = Finish::kLength};
  std::vector<std::int32_t> sequence = prompt.tokens;
  while (static_cast<std::int64_t>(c.tokens.size()) < tokens) {
    const std::int32_t token = next_token(sequence);
    if (token == kEnd) return c.finish = Finish::kEnd, c;
    c.tokens.push_back(token);
    if (static_cast<std::int64_t>(c.tokens.size()) == tokens) break;
    if (static_cast<std::int64_t>(sequence.size()) == context) return c.finish = Finish::kContext, c;
    sequence.push_back(token);
  }
  return c;
}

TEST(Batcher, GivesEveryPromptWhatItWouldGetAlone) {
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    const std::int64_t context = 5 + random() % 90, tokens = 1 + random() % 40;
    std::vector<Prompt> prompts(1 + random() % 12);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      prompts[i].index = static_cast<std::int64_t>(100 + i);
      prompts[i].tokens.resize(1 + random() % static_cast<unsigned>(context));
      for (std::int32_t& t : prompts[i].tokens) t = static_cast<std::int32_t>(random() % 500);
    }
    BatchLimits limits = make_limits(prompts, 1 + random() % 5, tokens, context, kEnd);
    limits.rows = std::max<std::int64_t>(limits.batch, limits.rows - random() % 20);
    FakeModel model(limits);
    Batcher batcher(limits, prompts);
    std::size_t full = 0, calls = 0;
    while (!batcher.done()) {
      const std::vector<std::int32_t> chosen = model.run(batcher.next());
      batcher.accept(chosen);
      ASSERT_LT(++calls, 5000u);
      full += batcher.free_blocks() == 0;
    }
    EXPECT_EQ(batcher.free_blocks(), limits.blocks);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      const Completion expected = alone(prompts[i], tokens, context);
      EXPECT_TRUE(batcher.finished(i));
      EXPECT_EQ(batcher.completions()[i].index, prompts[i].index);
      EXPECT_EQ(batcher.completions()[i].tokens, expected.tokens);
      EXPECT_EQ(batcher.completions()[i].finish, expected.finish);
    }
  }
}

TEST(Batcher, LetsLongPromptsThroughInPiecesBetweenOtherTokens) {
  const std::vector<Prompt> prompts{{.index = 0, .tokens = {1}},
                                    {.index = 1, .tokens = std::vector<std::int32_t>(20, 2)}};
  BatchLimits limits = make_limits(prompts, 2, 8, 100, -1);
  limits.rows = 6;
  Batcher batcher(limits, prompts);
  const Call& call = batcher.next();
  EXPECT_EQ(call.offsets, (std::vector<std::int32_t>{0, 1, 6}));
  ASSERT_EQ(call.choices.size(), 1u);
  batcher.accept(std::vector<std::int32_t>{7});
  EXPECT_EQ(batcher.next().tokens, (std::vector<std::int32_t>{7, 2, 2, 2, 2, 2}));
  EXPECT_EQ(call.start, (std::vector<std::int32_t>{1, 5}));
}

TEST(Batcher, StopsWhereItIs) {
  const std::vector<Prompt> prompts{{.index = 0, .tokens = {1}}, {.index = 1, .tokens = {2}}};
  Batcher batcher(make_limits(prompts, 1, 8, 100, -1), prompts);
  batcher.next();
  batcher.accept(std::vector<std::int32_t>{7});
  batcher.stop();
  EXPECT_TRUE(batcher.done());
  EXPECT_EQ(batcher.completions()[0].tokens, (std::vector<std::int32_t>{7}));
  EXPECT_EQ(batcher.completions()[0].finish, Finish::kStopped);
  EXPECT_TRUE(batcher.completions()[1].tokens.empty());
}

TEST(Batcher, RefusesPromptsItCannotServe) {
  const std::vector<Prompt> empty{{.index = 0, .tokens = {}}}, longer{{.index = 0, .tokens = {1, 2, 3}}};
  EXPECT_THROW(Batcher(BatchLimits{.context = 9}, empty), BugError);
  EXPECT_THROW(Batcher(BatchLimits{.context = 2}, longer), BugError);
  EXPECT_THROW(Batcher(BatchLimits{.tokens = 100, .context = 900, .blocks = 2}, longer), BugError);
}

}  // namespace
}  // namespace banyan::infer
