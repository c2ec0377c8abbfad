// Which rows go through the model next.  Sequences join as soon as there is room and leave when they end, so a batch is
// always as full as it can be; a long prompt goes through in pieces between the other sequences' tokens.  Blocks of the
// key and value cache are reserved for the whole life of a sequence when it joins, so none ever has to leave early.
//
// Every rank of a replica runs its own Batcher on the same prompts and the same tokens, and so all do the same without
// a word.  Pure: knows no device and no rank.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace banyan::infer {

struct Prompt {
  std::int64_t index = 0;            ///< among all prompts of the job; sampling depends on it
  std::vector<std::int32_t> tokens;  ///< at least one
};

enum class Finish : std::uint8_t { kEnd, kLength, kContext, kStopped };
/// "end" (the end token), "length" (generate.tokens), "context" (the model's context is full), "stopped".
std::string_view name_of(Finish finish);

struct Completion {
  std::int64_t index = 0;
  std::vector<std::int32_t> tokens;  ///< without prompt and end token
  Finish finish = Finish::kStopped;
};

struct BatchLimits {
  std::int64_t batch = 1;        ///< sequences at a time
  std::int64_t tokens = 1;       ///< new tokens of a sequence
  std::int64_t context = 1;      ///< positions of the model
  std::int32_t end_token = -1;   ///< ends a sequence; -1: none does
  std::int32_t block_size = 16;  ///< positions in a block of the cache
  std::int32_t blocks = 1;       ///< of the cache
  std::int64_t rows = 1;         ///< at a time; at least `batch`
};

/// Positions a prompt may come to need.
std::int64_t positions_needed(std::int64_t prompt_tokens, std::int64_t new_tokens, std::int64_t context);
/// Limits under which `batch` of these prompts always fit: blocks for the longest, rows for a few hundred at a time.
BatchLimits make_limits(std::span<const Prompt> prompts, std::int64_t batch, std::int64_t tokens, std::int64_t context,
                        std::int32_t end_token);

/// One pass through the model.
struct Call {
  std::vector<std::int32_t> tokens;       ///< rows
  std::vector<std::int32_t> offsets;      ///< sequences + 1
  std::vector<std::int32_t> start;        ///< sequences: position of each one's first row
  std::vector<std::int32_t> block_table;  ///< sequences x blocks_per_sequence
  std::int32_t blocks_per_sequence = 0;
  /// Rows after which a token is chosen, with the prompt and the position it is for.
  struct Choice {
    std::int32_t row;
    std::int64_t prompt, position;
  };
  std::vector<Choice> choices;
};

class Batcher {
 public:
  /// Prompts start in the order given.
  Batcher(const BatchLimits& limits, std::vector<Prompt> prompts);

  bool done() const { return active_.empty() && next_ == prompts_.size(); }
  /// The next call; not when done.
  const Call& next();
  /// The tokens chosen after it, one for each of its choices.
  void accept(std::span<const std::int32_t> chosen);
  /// Ends everything where it is.
  void stop();

  /// By position in the list of prompts; growing while it goes on.
  const std::vector<Completion>& completions() const { return completions_; }
  /// True when completions()[i] will not grow any more.
  bool finished(std::size_t i) const { return finished_[i]; }
  std::int64_t free_blocks() const { return static_cast<std::int64_t>(free_.size()); }

 private:
  struct Sequence {
    std::size_t prompt = 0;  ///< position in prompts_
    std::int64_t done = 0;   ///< positions in the cache
    std::int32_t last = -1;  ///< newest token, once the prompt is through
    std::vector<std::int32_t> blocks;
    std::int64_t rows = 0;  ///< in the current call
  };
  void admit();
  void finish(Sequence& sequence, Finish reason);

  const BatchLimits limits_;
  const std::vector<Prompt> prompts_;
  std::size_t next_ = 0;  ///< first prompt that has not joined
  std::vector<Sequence> active_;
  std::vector<std::int32_t> free_;  ///< blocks; the last one is taken first
  std::vector<Completion> completions_;
  std::vector<char> finished_;
  Call call_;
};

}  // namespace banyan::infer
