// Generation on a team: the stages of a replica pass hidden rows on, the last one chooses tokens and tells the others.
// Replicas share the prompts and know nothing of each other until their completions are gathered.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "src/infer/batcher.hpp"
#include "src/infer/sampling.hpp"
#include "src/job/setup.hpp"

namespace banyan::infer {

struct GenerateOptions {
  SamplingOptions sampling;
  std::int64_t batch = 8, tokens = 128;  ///< see BatchLimits
  std::int32_t end_token = -1;
  std::int64_t vocab = 0;                ///< tokens that may be chosen; the model may know more (padding)
  int threads = 1;                       ///< of this rank
  std::int64_t planned = 0, memory = 0;  ///< bytes of this rank: what its plan has before any prompt is known, what it
                                         ///< may have in all (0: not known)
};

/// The consecutive prompts that a replica generates.
std::vector<Prompt> prompts_of(std::span<const Prompt> prompts, int data_rank, int data_ranks);

/// Counts over all calls of one Generator on this rank's replica.
struct GenerateCounts {
  std::int64_t prompt_tokens = 0, new_tokens = 0, calls = 0;
  /// Of calls in which a prompt is read, and of those that only add a token to every sequence.
  struct Pace {
    std::int64_t rows = 0;
    double seconds = 0;
    double rate() const { return seconds > 0 ? static_cast<double>(rows) / seconds : 0; }
  };
  Pace reading, writing;
};

class Generator {
 public:
  /// The team was assembled for generation and its parameters are loaded; it outlives the generator.
  Generator(job::Team& team, const GenerateOptions& options, Queue queue);

  /// Completions of this replica's prompts, in their order.  Called by all ranks of the replica with the same prompts.
  /// `on_call` runs after every pass through the model.  DataError when a prompt is longer than the model's context,
  /// ConfigError when keys and values do not fit into memory.
  std::vector<Completion> generate(std::vector<Prompt> prompts,
                                   const std::function<void(const Batcher&)>& on_call = {});

  const GenerateCounts& counts() const { return counts_; }
  /// True after a stop request cut the generation short.
  bool stopped() const { return stopped_; }

 private:
  void fit_cache(const BatchLimits& limits);
  void pass(const Call& call);
  std::vector<std::int32_t> choose(const Call& call);

  job::Team& team_;
  const GenerateOptions options_;
  const Queue queue_;
  std::int32_t cache_blocks_ = 0;
  std::int64_t cache_rows_ = 0;
  std::vector<float> hidden_, logits_;
  GenerateCounts counts_;
  bool stopped_ = false;
};

/// Everybody's completions on every rank of the team, in the order of the prompts' numbers.
std::vector<Completion> gather_completions(job::Team& team, const std::vector<Completion>& mine);

}  // namespace banyan::infer
