#include "src/infer/generate.hpp"

#include <algorithm>
#include <cstring>

#include "src/base/error.hpp"
#include "src/base/section.hpp"
#include "src/base/signals.hpp"
#include "src/base/units.hpp"
#include "src/parallel/microbatches.hpp"
#include "src/plan/memory.hpp"

namespace banyan::infer {
namespace {

constexpr int kHiddenChannel = 0;

void append_value(std::string& bytes, std::int64_t value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

std::int64_t take_value(const std::string& bytes, std::size_t& at) {
  std::int64_t value = 0;
  if (bytes.size() - at < sizeof value) throw BugError("a message of completions is cut short");
  std::memcpy(&value, bytes.data() + at, sizeof value);
  at += sizeof value;
  return value;
}

}  // namespace

std::vector<Prompt> prompts_of(std::span<const Prompt> prompts, int data_rank, int data_ranks) {
  const parallel::MicrobatchRange mine =
      parallel::split_microbatches(static_cast<std::int64_t>(prompts.size()), data_rank, data_ranks);
  return {prompts.begin() + mine.first, prompts.begin() + mine.first + mine.count};
}

Generator::Generator(job::Team& team, const GenerateOptions& options, Queue queue)
    : team_(team), options_(options), queue_(queue) {
  const std::int64_t model_vocab = team.layout.model.vocab;
  if (options.vocab < 1 || options.vocab > model_vocab)
    throw BugError("{} of the model's {} tokens may be chosen", options.vocab, model_vocab);
}

std::vector<Completion> Generator::generate(std::vector<Prompt> prompts,
                                            const std::function<void(const Batcher&)>& on_call) {
  const std::int64_t context = team_.layout.model.context;
  for (const Prompt& p : prompts) {
    if (static_cast<std::int64_t>(p.tokens.size()) > context)
      throw DataError("prompt {} has {} tokens, but model.context = {}; shorten the prompt", p.index + 1,
                      p.tokens.size(), context);
    counts_.prompt_tokens += static_cast<std::int64_t>(p.tokens.size());
  }
  if (prompts.empty()) return {};
  const BatchLimits limits = make_limits(prompts, options_.batch, options_.tokens, context, options_.end_token);
  fit_cache(limits);
  Batcher batcher(limits, std::move(prompts));
  while (!batcher.done()) {
    const Call& call = batcher.next();
    const Clock::time_point begun = Clock::now();
    pass(call);
    const std::vector<std::int32_t> chosen = choose(call);
    ++counts_.calls;
    GenerateCounts::Pace& pace = call.tokens.size() > call.start.size() ? counts_.reading : counts_.writing;
    pace.rows += static_cast<std::int64_t>(call.tokens.size());
    pace.seconds += Seconds(Clock::now() - begun).count();
    if (stopped_) {
      batcher.stop();
    } else {
      batcher.accept(chosen);
      counts_.new_tokens += static_cast<std::int64_t>(chosen.size());
    }
    if (on_call) on_call(batcher);
  }
  return batcher.completions();
}

void Generator::fit_cache(const BatchLimits& limits) {
  if (limits.blocks <= cache_blocks_ && limits.rows <= cache_rows_) return;
  cache_blocks_ = std::max(cache_blocks_, limits.blocks);
  cache_rows_ = std::max(cache_rows_, limits.rows);
  const std::int64_t needed = plan::generation_bytes(team_.stage->spec(), options_.threads, cache_blocks_,
                                                     limits.block_size, cache_rows_, limits.batch);
  const auto size = [](std::int64_t bytes) { return format_bytes(static_cast<double>(bytes)); };
  if (options_.memory > 0 && options_.planned + needed > options_.memory)
    throw ConfigError(
        "keys and values of {} prompts together, {} positions, and what a pass computes take {}, and the parameters "
        "{}, but a rank has {}; lower generate.batch = {} or generate.tokens = {}, use fewer ranks on a node or raise "
        "parallel.tensor",
        limits.batch, std::int64_t{cache_blocks_} * limits.block_size, size(needed), size(options_.planned),
        size(options_.memory), options_.batch, options_.tokens);
  team_.stage->make_cache(cache_blocks_, limits.block_size, cache_rows_);
  if (team_.pipeline) hidden_.resize(static_cast<std::size_t>(cache_rows_ * team_.layout.model.width));
}

void Generator::pass(const Call& call) {
  const Shape shape{static_cast<std::int64_t>(call.tokens.size()), team_.layout.model.width};
  const View hidden = team_.pipeline ? View(hidden_.data(), shape) : View();
  const int stage = team_.at.pipeline;
  if (!team_.first_stage())
    team_.pipeline->receive(queue_, hidden, stage - 1, kHiddenChannel, "the rows of the previous stage").wait();
  team_.stage->infer({.tokens = call.tokens,
                      .offsets = call.offsets,
                      .start = call.start,
                      .block_table = call.block_table,
                      .blocks_per_sequence = call.blocks_per_sequence},
                     hidden);
  if (!team_.last_stage())
    team_.pipeline->send(queue_, hidden, stage + 1, kHiddenChannel, "the next stage to take rows").wait();
}

std::vector<std::int32_t> Generator::choose(const Call& call) {
  // The last word is whether to stop, so that all ranks of the replica stop after the same token.
  std::vector<std::int32_t> chosen(call.choices.size() + 1, 0);
  if (team_.last_stage()) {
    std::vector<std::int32_t> rows;
    for (const Call::Choice& c : call.choices) rows.push_back(c.row);
    if (!rows.empty()) team_.stage->logits(rows, logits_);
    const auto model_vocab = static_cast<std::size_t>(team_.layout.model.vocab);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::span<const float> all(logits_.data() + i * model_vocab, static_cast<std::size_t>(options_.vocab));
      chosen[i] = sample(all, options_.sampling, call.choices[i].prompt, call.choices[i].position);
    }
    std::int64_t stop = signals::stop_requests() > 0;
    if (team_.tensor) stop = all_reduce_value(*team_.tensor, stop, comm::ReduceOp::kMax, "whether to stop");
    chosen.back() = static_cast<std::int32_t>(stop);
  }
  if (team_.pipeline) {
    const View words(chosen.data(), {static_cast<std::int64_t>(chosen.size())});
    team_.pipeline->broadcast(queue_, words, team_.pipeline->size() - 1, "the tokens of the last stage").wait();
  }
  stopped_ = chosen.back() != 0;
  chosen.pop_back();
  return chosen;
}

std::vector<Completion> gather_completions(job::Team& team, const std::vector<Completion>& mine) {
  std::string bytes;
  // One rank of each replica speaks for it.
  if (team.at.tensor == 0 && team.first_stage())
    for (const Completion& c : mine) {
      append_value(bytes, c.index);
      append_value(bytes, static_cast<std::int64_t>(c.finish));
      append_value(bytes, static_cast<std::int64_t>(c.tokens.size()));
      bytes.append(reinterpret_cast<const char*>(c.tokens.data()), c.tokens.size() * sizeof(std::int32_t));
    }
  std::vector<Completion> all;
  for (const std::string& part : comm::all_gather_strings(*team.all, bytes, "the completions of all replicas"))
    for (std::size_t at = 0; at < part.size();) {
      Completion c;
      c.index = take_value(part, at);
      c.finish = static_cast<Finish>(take_value(part, at));
      const auto count = static_cast<std::size_t>(take_value(part, at));
      if (count > (part.size() - at) / sizeof(std::int32_t)) throw BugError("a message of completions is cut short");
      c.tokens.resize(count);
      if (count > 0) std::memcpy(c.tokens.data(), part.data() + at, count * sizeof(std::int32_t));
      at += count * sizeof(std::int32_t);
      all.push_back(std::move(c));
    }
  std::sort(all.begin(), all.end(), [](const Completion& a, const Completion& b) { return a.index < b.index; });
  return all;
}

}  // namespace banyan::infer
