#include "src/infer/batcher.hpp"

#include <algorithm>
#include <functional>

#include "src/base/error.hpp"

namespace banyan::infer {
namespace {

/// Rows of prompts in one call: enough to keep matrix products busy, few enough that others do not wait long.
constexpr std::int64_t kPromptRows = 512;

std::int64_t blocks_for(std::int64_t positions, std::int32_t block_size) {
  return (positions + block_size - 1) / block_size;
}

}  // namespace

std::string_view name_of(Finish finish) {
  switch (finish) {
    case Finish::kEnd:
      return "end";
    case Finish::kLength:
      return "length";
    case Finish::kContext:
      return "context";
    case Finish::kStopped:
      return "stopped";
  }
  return "?";
}

std::int64_t positions_needed(std::int64_t prompt_tokens, std::int64_t new_tokens, std::int64_t context) {
  // The last new token is never fed back, so it takes no position.
  return std::min(context, prompt_tokens + new_tokens - 1);
}

BatchLimits make_limits(std::span<const Prompt> prompts, std::int64_t batch, std::int64_t tokens, std::int64_t context,
                        std::int32_t end_token) {
  BatchLimits limits;
  limits.tokens = tokens;
  limits.context = context;
  limits.end_token = end_token;
  limits.batch = std::max<std::int64_t>(1, std::min(batch, static_cast<std::int64_t>(prompts.size())));
  std::vector<std::int64_t> needs, lengths;
  for (const Prompt& p : prompts) {
    const auto length = static_cast<std::int64_t>(p.tokens.size());
    lengths.push_back(length);
    needs.push_back(blocks_for(positions_needed(length, tokens, context), limits.block_size));
  }
  std::sort(needs.begin(), needs.end(), std::greater<>());
  std::sort(lengths.begin(), lengths.end(), std::greater<>());
  std::int64_t blocks = 0, prompt_rows = 0;
  for (std::int64_t i = 0; i < limits.batch && i < static_cast<std::int64_t>(needs.size()); ++i) {
    blocks += needs[static_cast<std::size_t>(i)];
    prompt_rows += lengths[static_cast<std::size_t>(i)];
  }
  if (blocks * limits.block_size > std::int64_t{1} << 31)
    throw ConfigError("generate.batch = {} sequences would need {} positions in the key and value cache; lower it",
                      batch, blocks * limits.block_size);
  limits.blocks = static_cast<std::int32_t>(std::max<std::int64_t>(1, blocks));
  limits.rows = std::max(limits.batch, std::min(kPromptRows, prompt_rows));
  return limits;
}

Batcher::Batcher(const BatchLimits& limits, std::vector<Prompt> prompts)
    : limits_(limits), prompts_(std::move(prompts)), finished_(prompts_.size(), 0) {
  if (limits_.batch < 1 || limits_.rows < limits_.batch || limits_.tokens < 1 || limits_.block_size < 1)
    throw BugError("a batch of {} sequences in {} rows, {} new tokens, blocks of {}", limits_.batch, limits_.rows,
                   limits_.tokens, limits_.block_size);
  for (std::int32_t b = limits_.blocks; b-- > 0;) free_.push_back(b);
  std::int64_t most = 0;
  for (const Prompt& p : prompts_) {
    const auto length = static_cast<std::int64_t>(p.tokens.size());
    if (length < 1 || length > limits_.context)
      throw BugError("prompt {} has {} tokens for a context of {}", p.index, length, limits_.context);
    most = std::max(most, blocks_for(positions_needed(length, limits_.tokens, limits_.context), limits_.block_size));
    completions_.push_back({.index = p.index, .tokens = {}, .finish = Finish::kStopped});
  }
  if (most > limits_.blocks)
    throw BugError("a prompt needs {} blocks of the cache, there are {}", most, limits_.blocks);
  call_.blocks_per_sequence = static_cast<std::int32_t>(most);
}

void Batcher::admit() {
  while (next_ < prompts_.size() && static_cast<std::int64_t>(active_.size()) < limits_.batch) {
    const auto length = static_cast<std::int64_t>(prompts_[next_].tokens.size());
    const std::int64_t needed =
        blocks_for(positions_needed(length, limits_.tokens, limits_.context), limits_.block_size);
    if (needed > free_blocks()) return;  // in order: a short prompt does not overtake a long one
    Sequence s;
    s.prompt = next_++;
    for (std::int64_t i = 0; i < needed; ++i) {
      s.blocks.push_back(free_.back());
      free_.pop_back();
    }
    active_.push_back(std::move(s));
  }
}

const Call& Batcher::next() {
  admit();
  if (active_.empty()) throw BugError("nothing is left to generate");
  call_.tokens.clear();
  call_.offsets.assign(1, 0);
  call_.start.clear();
  call_.block_table.clear();
  call_.choices.clear();
  // Every sequence past its prompt gets its one row, prompts share the rest, oldest first.
  std::int64_t left = limits_.rows;
  for (const Sequence& s : active_)
    if (s.last >= 0) --left;
  for (Sequence& s : active_) {
    const std::vector<std::int32_t>& prompt = prompts_[s.prompt].tokens;
    const auto length = static_cast<std::int64_t>(prompt.size());
    s.rows = s.last >= 0 ? 1 : std::min(left, length - s.done);
    if (s.rows == 0) continue;
    if (s.last >= 0) {
      call_.tokens.push_back(s.last);
    } else {
      left -= s.rows;
      call_.tokens.insert(call_.tokens.end(), prompt.begin() + s.done, prompt.begin() + s.done + s.rows);
    }
    call_.offsets.push_back(static_cast<std::int32_t>(call_.tokens.size()));
    call_.start.push_back(static_cast<std::int32_t>(s.done));
    const std::size_t row_begin = call_.block_table.size();
    call_.block_table.insert(call_.block_table.end(), s.blocks.begin(), s.blocks.end());
    call_.block_table.resize(row_begin + static_cast<std::size_t>(call_.blocks_per_sequence), 0);
    s.done += s.rows;
    if (s.done >= length)
      call_.choices.push_back({static_cast<std::int32_t>(call_.tokens.size()) - 1, prompts_[s.prompt].index, s.done});
  }
  return call_;
}

void Batcher::accept(std::span<const std::int32_t> chosen) {
  if (chosen.size() != call_.choices.size())
    throw BugError("{} tokens were chosen where {} were due", chosen.size(), call_.choices.size());
  std::size_t i = 0;
  for (Sequence& s : active_) {
    if (s.rows == 0 || s.done < static_cast<std::int64_t>(prompts_[s.prompt].tokens.size())) continue;
    const std::int32_t token = chosen[i++];
    std::vector<std::int32_t>& tokens = completions_[s.prompt].tokens;
    if (token == limits_.end_token) {
      finish(s, Finish::kEnd);
      continue;
    }
    s.last = token;
    tokens.push_back(token);
    if (static_cast<std::int64_t>(tokens.size()) == limits_.tokens)
      finish(s, Finish::kLength);
    else if (s.done == limits_.context)
      finish(s, Finish::kContext);
  }
  std::erase_if(active_, [&](const Sequence& s) { return finished_[s.prompt] != 0; });
}

void Batcher::finish(Sequence& s, Finish reason) {
  completions_[s.prompt].finish = reason;
  finished_[s.prompt] = 1;
  free_.insert(free_.end(), s.blocks.rbegin(), s.blocks.rend());
  s.blocks.clear();
}

void Batcher::stop() {
  for (Sequence& s : active_) finish(s, Finish::kStopped);
  active_.clear();
  next_ = prompts_.size();
  finished_.assign(prompts_.size(), 1);
}

}  // namespace banyan::infer
